# SPDX-License-Identifier: Apache-2.0
"""A federation on machines of its own: the authority's state, and each participant's, joined with kits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cloister.certificates import Identity, identities, startup_folder
from cloister.certificates.pem import read_certificate
from cloister.provisioning import Authority, check_kit
from cloister.provisioning.enrolment import request_certificate
from cloister.provisioning.granting import grant
from cloister.provisioning.joining import Joined, join
from cloister.provisioning.kit import KitPaths
from cloister.provisioning.replacement import settle
from cloister.roster import Federation
from cloister.trust import judge, trust_in_force
from cloister.trust.in_force import settle_roots


@dataclass(frozen=True)
class Machine:
    """One participant's machine.

    Attributes:
        root: its folder.
        identity: who it is.
    """

    root: Path
    identity: Identity

    @property
    def state(self) -> Path:
        return self.root / ".cloister"

    @property
    def workspace(self) -> Path:
        return startup_folder(self.state, self.identity).parent

    @property
    def paths(self) -> KitPaths:
        return KitPaths.of(self.workspace / "startup", self.identity)

    def works(self, now: datetime) -> str:
        """See that a process would start here now, with a certificate that counts; returns its fingerprint."""
        settle(self.workspace)
        trust = trust_in_force(self.workspace)
        settle_roots(self.workspace, trust)
        check_kit(self.workspace / "startup", self.identity, now, trust.anchors)
        certificate = read_certificate(self.paths.certificate)
        assert judge(certificate, trust, now) == self.identity
        return str(certificate.serial_number)


def authority_at(folder: Path) -> Authority:
    return Authority.open(folder / ".cloister" / "authority")


def machines(root: Path, federation: Federation) -> Mapping[str, Machine]:
    return {each.name: Machine(root / each.name, each) for each in identities(federation)}


def enrol(root: Path, machine: Machine, federation: Federation, now: datetime) -> Joined:
    """All of it for one participant: key, request, approval, kit, joining."""
    authority = authority_at(root / "authority")
    csr = request_certificate(machine.state, machine.identity)
    kit = grant(authority, federation, csr, (), now).kit
    return join(machine.root, machine.state, machine.identity.kind, kit, authority.fingerprint, now)


def begin(root: Path, federation: Federation, now: datetime) -> Mapping[str, Machine]:
    """An authority and everybody's machine, enrolled one after another; only the last has the last roster."""
    Authority.create(root / "authority" / ".cloister" / "authority", federation, now)
    found = machines(root, federation)
    for machine in found.values():
        enrol(root, machine, federation, now)
    return found
