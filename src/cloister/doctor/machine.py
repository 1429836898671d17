# SPDX-License-Identifier: Apache-2.0
"""What is looked at once for a machine, whoever is on it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from cloister.certificates import Identity
from cloister.doctor.capacity import disk_of, judge_disk
from cloister.doctor.clock import Past, ask_kernel, judge_clock
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding
from cloister.doctor.gpu import ask_driver, cuda_of_torch, judge_gpus
from cloister.doctor.handshake import Target
from cloister.doctor.here import Here
from cloister.doctor.network import (
    Answer,
    Resolution,
    dial,
    judge_port,
    judge_resolution,
    port_unknown,
    resolve,
)
from cloister.doctor.own import Own
from cloister.doctor.probe import Probe
from cloister.doctor.proxy import judge_environment, named
from cloister.doctor.rights import judge_rights, walk
from cloister.doctor.versions import ask_installed, judge_versions
from cloister.roster import Server


@dataclass(frozen=True)
class Machine:
    """This machine, and who is looked at on it.

    Attributes:
        here: the machine and the moment.
        owns: what lies here of each.
    """

    here: Here
    owns: tuple[Own, ...]

    @functools.cached_property
    def server(self) -> Server:
        """The server's entry in the roster that counts."""
        signed = next((own.trust.federation for own in self.owns if own.trust), self.here.document)
        return signed.server

    @property
    def port(self) -> int | None:
        """The port to dial; None where it was left to a first start that has not been."""
        port = self.server.port
        return port if isinstance(port, int) else self.here.state.remembered_port()

    @functools.cached_property
    def resolution(self) -> Resolution:
        """What the resolver makes of the server's host; asked once."""
        return resolve(self.server.host)

    def target(self) -> Target | None:
        """Where to dial for TLS; None where nobody knows the port, or the name does not resolve."""
        if self.port is None or not self.resolution.addresses:
            return None
        found = dial(self.resolution.addresses, self.port)
        return Target(self.server.host, found.address, self.port) if found.answer is Answer.OPEN else None

    def probes(self, wanted: tuple[Identity, ...]) -> Iterator[Probe]:
        """What to look at, in order."""
        yield Probe(Topic.NAME, f"the name `{self.server.host}`", self._name)
        yield Probe(Topic.PROXY, "the environment's proxy", self._proxy)
        yield Probe(Topic.PORT, "the server's port", self._port)
        yield Probe(Topic.CLOCK, "this machine's clock", self._clock)
        yield Probe(Topic.VERSIONS, "installed versions", lambda: judge_versions(ask_installed()))
        if self.here.state.folder.exists():
            yield Probe(Topic.RIGHTS, "rights of files", self._rights)
        yield Probe(Topic.CAPACITY, "the disk", self._disk)
        if any(each.kind == "site" for each in wanted):
            yield Probe(Topic.CAPACITY, "the GPU's driver", lambda: judge_gpus(ask_driver(), cuda_of_torch()))

    def _name(self) -> Iterator[Finding]:
        yield judge_resolution(self.resolution, server_here=self.here.server_here)

    def _proxy(self) -> Iterator[Finding]:
        yield judge_environment(self.server.host, self.here.environment)

    def _port(self) -> Iterator[Finding]:
        if self.port is None:
            yield port_unknown()
        elif self.resolution.addresses:
            _, proxy = named(self.here.environment)
            found = dial(self.resolution.addresses, self.port)
            server_here = self.here.server_here
            yield judge_port(found, self.server.host, self.port, server_here=server_here, proxied=bool(proxy))
        else:
            yield Finding("D0208", "the port cannot be tried: the server's host does not resolve", "see above")

    def _clock(self) -> Iterator[Finding]:
        past = [
            Past(f"the certificate of `{own.identity.name}` begins", own.kit.certificate.not_valid_before_utc)
            for own in self.owns
            if own.kit.certificate is not None
        ]
        past += [
            Past(f"version {own.trust.version} of the roster was signed", own.trust.issued_at)
            for own in self.owns
            if own.trust is not None
        ]
        yield from judge_clock(self.here.now, past, ask_kernel())

    def _rights(self) -> Iterator[Finding]:
        workspaces = [own.workspace for own in self.owns]
        yield from judge_rights(walk(self.here.state.folder, workspaces))

    def _disk(self) -> Iterator[Finding]:
        folder = self.here.state.folder
        yield judge_disk(disk_of(folder if folder.exists() else self.here.root))
