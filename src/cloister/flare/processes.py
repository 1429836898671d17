# SPDX-License-Identifier: Apache-2.0
"""The federation's processes on this machine: a server and its sites, started, found again and stopped.

Every process bears the federation's random mark in its environment, and so do the processes that it starts. `down`
looks for the mark, not only for the process numbers that were written down: so it also finds what a killed `up`, or a
crashed parent, left behind, and never touches another federation's.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

from cloister.certificates import Identity, identities
from cloister.certificates.keys import is_encrypted
from cloister.certificates.passphrase import handed_over
from cloister.errors import FederationError, ProvisioningError, UsageError
from cloister.file_lock import lock
from cloister.files import private_folder, write_json
from cloister.flare.kit import person_files, server_files, site_files, write_kit
from cloister.flare.launcher import MARKER
from cloister.flare.person_kit import port_of
from cloister.flare.port import free_port, is_free
from cloister.flare.process_start import Start, start_of
from cloister.flare.process_tree import end, with_children
from cloister.flare.running import Running, read_running, write_running
from cloister.flare.state import SiteSettings, State
from cloister.provisioning import Authority, KitPaths, check_kit, hand_out
from cloister.provisioning.authority import AUTHORITY_FOLDER, CERTIFICATE_FILE
from cloister.provisioning.replacement import settle
from cloister.roster import Federation
from cloister.trust import trust_in_force
from cloister.trust.in_force import settle_roots

_NO_KEY_HINT = "run `cloister provision`, or join with a kit"
_PATIENCE_SECONDS = 30.0
_MARK_HINT = "stop this federation's processes by hand, then remove the file"


class LocalFederation:
    """Server and sites of one federation, as processes of this machine.

    Args:
        root: the federation's folder.
        federation: its roster.
    """

    def __init__(self, root: Path, federation: Federation) -> None:
        self.root = root.resolve()
        self.federation = federation
        self.state = State(self.root)

    @property
    def names(self) -> list[str]:
        """The server's name, then the sites'."""
        return [self.federation.server.name, *(site.name for site in self.federation.sites)]

    def here(self) -> list[str]:
        """Names of the server and the sites whose keys lie on this machine, and which therefore run on it.

        Raises:
            ProvisioningError: where nobody is.
        """
        found = [each.name for each in identities(self.federation) if each.kind != "person" and self.has_key(each)]
        if not found:
            raise ProvisioningError("no key of the server or of a site lies on this machine", hint=_NO_KEY_HINT)
        return found

    def running(self) -> dict[str, Running]:
        """The processes that were started and still run, by name."""
        return {entry.name: entry for entry in read_running(self.state.processes) if entry.alive}

    @contextlib.contextmanager
    def _locked(self, seconds: float = 0.0) -> Iterator[None]:
        """Keep two commands from starting or stopping at once; another one is waited for so long."""
        self.state.make()
        descriptor = os.open(self.state.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w"):
            try:
                lock(descriptor, seconds)
            except OSError as error:
                raise FederationError("another `cloister` command is starting or stopping this federation") from error
            yield

    def start(self, sites: list[str] | None = None) -> list[str]:
        """Start what does not run yet.

        Args:
            sites: which sites; all where not given.

        Returns:
            Names of what was started.

        Raises:
            CloisterError: where a kit is not in order or a process cannot be started.
        """
        with self._locked():
            server, running = self.federation.server.name, self.running()
            wanted = [name for name in self.here() if sites is None or name == server or name in sites]
            if missing := sorted(set(sites or ()) - set(wanted)):
                raise ProvisioningError(f"no key of `{missing[0]}` lies on this machine", hint=_NO_KEY_HINT)
            to_start = [name for name in wanted if name not in running]
            if not to_start:
                return []
            port = self._port(taken_by_us=server in running or server not in wanted)
            self._hand_out_roster()
            self._write_kits(port)
            entries = list(running.values())
            for name in to_start:
                entries.append(self._spawn(name, port))
                write_running(self.state.processes, entries)
            return to_start

    def _port(self, *, taken_by_us: bool) -> int:
        """The federation's port: the document's, or the remembered one, or a free one."""
        configured = self.federation.server.port
        remembered = self.remembered_port()
        if isinstance(configured, int):
            if not taken_by_us and not is_free(configured):
                hint = "stop what listens there, or set another `port` in provisioning/federation.yaml"
                raise FederationError(f"port {configured} is taken by another program", hint=hint)
            port = configured
        elif remembered and (taken_by_us or is_free(remembered)):
            port = remembered
        elif taken_by_us:
            port = port_of(self.federation, self.state)  # chosen elsewhere: says so
        else:
            port = free_port()
        write_json(self.state.port, {"port": port})
        return port

    def remembered_port(self) -> int | None:
        """The port that was chosen last, if any."""
        return self.state.remembered_port()

    def _hand_out_roster(self) -> None:
        """Where the authority's key lies here as well, have it sign what the documents say now."""
        folder = self.state.folder / AUTHORITY_FOLDER
        if (folder / CERTIFICATE_FILE).exists() and (authority := Authority.open(folder)).has_keys:
            hand_out(authority, self.federation, self.state.folder, datetime.now(UTC))

    def _write_kits(self, port: int) -> None:
        for identity in identities(self.federation):
            workspace = self._workspace(identity)
            # An encrypted key of a person has that person's own passphrase; their next session writes the kit.
            waits = identity.kind == "person" and is_encrypted(workspace / "startup" / "client.key")
            if self.has_key(identity) and not waits:
                self._write_kit(identity, workspace, port)

    def has_key(self, identity: Identity) -> bool:
        """Whether the private key of ``identity`` lies on this machine."""
        return KitPaths.of(self._workspace(identity) / "startup", identity).key.exists()

    def _write_kit(self, identity: Identity, workspace: Path, port: int) -> None:
        """Check keys and certificates of ``identity`` and write its configuration, as the roster in force has it."""
        try:
            trust = trust_in_force(workspace)
            settle(workspace)
            settle_roots(workspace, trust)
            check_kit(workspace / "startup", identity, datetime.now(UTC), trust.anchors)
        except ProvisioningError as error:
            raise ProvisioningError(error.message, hint=error.hint or "run `cloister provision`") from error
        if identity.kind == "server":
            private_folder(workspace / "jobs")
            private_folder(workspace / "snapshots")
            write_kit(workspace, server_files(trust.federation, workspace, port))
        elif identity.kind == "site":
            settings = SiteSettings(identity.name, self.root, workspace, self.state.folder)
            write_kit(workspace, site_files(trust.federation, identity.name, port, workspace), settings)
        else:
            write_kit(workspace, person_files(trust.federation, identity.name, workspace, port))

    def _workspace(self, identity: Identity) -> Path:
        places = {"server": self.state.server, "site": self.state.site(identity.name)}
        return places.get(identity.kind, self.state.person(identity.name))

    def prepare(self, name: str) -> Start:
        """Write the kit of ``name`` and record this process as the one that becomes it.

        Returns:
            What this process is to become.

        Raises:
            CloisterError: where the kit is not in order, or ``name`` runs already.
        """
        with self._locked(_PATIENCE_SECONDS):  # a machine that boots starts all its services at once
            others = {entry.name: entry for entry in self.running().values() if entry.pid != os.getpid()}
            if name in others:
                hint = "stop it with `cloister down`, or with whatever started it"
                raise FederationError(f"`{name}` runs already, as process {others[name].pid}", hint=hint)
            identity = next((each for each in identities(self.federation) if each.name == name), None)
            if identity is None or identity.kind == "person":
                raise UsageError(f"`{name}` is neither the server nor a site of the roster")
            if identity.kind == "site" and self.federation.server.port == "auto" and not self.remembered_port():
                hint = "write it as `server.port` in provisioning/federation.yaml"
                raise FederationError("the server's port is not known on this machine", hint=hint)
            port = self._port(taken_by_us=identity.kind == "site")
            self._write_kit(identity, self._workspace(identity), port)
            write_running(self.state.processes, [*others.values(), Running.of(name)])
            return self._start_of(name, port)

    def _start_of(self, name: str, port: int) -> Start:
        if name == self.federation.server.name:
            return start_of("server", self.state.server, self.root, port, self.mark())
        return start_of("site", self.state.site(name), self.root, port, self.mark())

    def _spawn(self, name: str, port: int) -> Running:
        start = self._start_of(name, port)
        log = self.state.log(name)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as stream, handed_over(start.passphrase) as (given, variables):
            process = subprocess.Popen(
                start.command,
                env=start.environment | variables,
                cwd=start.folder,
                stdin=given,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                close_fds=True,
            )
        return Running.of(name, process.pid)

    def mark(self) -> str:
        """The federation's random mark."""
        path = self.state.folder / "mark"
        if not path.exists():
            write_json(path, secrets.token_hex(16))
        try:
            mark = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FederationError(f"the federation's mark `{path}` cannot be read", hint=_MARK_HINT) from error
        if not isinstance(mark, str) or not mark:
            raise FederationError(f"the federation's mark `{path}` is not one", hint=_MARK_HINT)
        return mark

    def marked(self) -> list[psutil.Process]:
        """Every process of this machine that bears the federation's mark."""
        if not (self.state.folder / "mark").exists():
            return []
        mark = self.mark()
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(MARKER) == mark:
                    found.append(process)
        return found

    def stop(self) -> list[str]:
        """Stop everything that bears the federation's mark, and what it started.

        Returns:
            Names of the server and sites that were stopped; where none is known, which processes.

        Raises:
            FederationError: where a process outlives SIGKILL.
        """
        if not self.state.folder.exists():
            return []
        with self._locked():
            names = sorted(self.running()) or [f"process {process.pid}" for process in self.marked()]
            for _ in range(3):  # a dying parent may start one more child while it is being stopped
                victims = with_children(self.marked())
                if not victims:
                    break
                end(victims)
            left = with_children(self.marked())
            if left:
                raise FederationError(f"process {left[0].pid} cannot be stopped", hint=f"try `kill -9 {left[0].pid}`")
            write_running(self.state.processes, [])
            return names

    def wait_until_listening(self, seconds: float) -> None:
        """Wait for the server's port.

        Raises:
            FederationError: where it does not open, or the server dies; quotes the end of its log.
        """
        port = self.remembered_port()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if port and not is_free(port):
                return
            self.check_alive([self.federation.server.name])
            time.sleep(0.1)
        raise FederationError(f"the server did not open port {port} within {seconds:.0f} s")

    def check_alive(self, names: list[str]) -> None:
        """See that processes still run.

        Raises:
            FederationError: where one has ended; quotes the end of its log.
        """
        running = self.running()
        for name in names:
            if name not in running:
                raise FederationError(f"`{name}` ended: {self.last_words(name)}", hint=f"see {self.state.log(name)}")

    def last_words(self, name: str) -> str:
        """The last line that a process printed."""
        try:
            lines = self.state.log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:500] if lines else "it printed nothing"
