# SPDX-License-Identifier: Apache-2.0
"""What a doctor is told of the machine: where things lie, what time it is, and who is on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.x509.oid import NameOID

from cloister.certificates import Identity, Kind, identities
from cloister.doctor.own import Own, read_own
from cloister.errors import ProvisioningError, UsageError
from cloister.flare.state import State
from cloister.provisioning import KitPaths
from cloister.provisioning.kit import read_kit
from cloister.roster import ROSTER, Federation


@dataclass(frozen=True)
class ServerState:
    """What the running server says of itself.

    Attributes:
        time: what its clock shows, aware.
        asked_at: what this machine's clock shows at that moment, aware.
        version: of Cloister there.
    """

    time: datetime
    asked_at: datetime
    version: str


AskServer = Callable[[Path, str], ServerState]
"""Asks the server with the kit in a workspace, in a person's name; raises `CloisterError` where it does not answer."""


@dataclass(frozen=True)
class Here:
    """The machine and the moment.

    Attributes:
        root: the federation's folder on this machine.
        document: provisioning/federation.yaml as it lies there.
        running: names of the server and sites that `cloister up` started and that still run.
        now: aware time.
        environment: the environment's variables.
        ask_server: how a person's session asks the server for its state; None where it is not to be asked.
    """

    root: Path
    document: Federation
    running: frozenset[str]
    now: datetime
    environment: Mapping[str, str]
    ask_server: AskServer | None = None

    @property
    def state(self) -> State:
        """Where keys and workspaces lie."""
        return State(self.root)

    @property
    def server_here(self) -> bool:
        """Whether the server's key lies on this machine."""
        return (self.state.server / "startup" / "server.key").exists()

    def workspace(self, name: str, kind: Kind) -> Path:
        """The folder of a participant."""
        if kind == "server":
            return self.state.server
        return self.state.site(name) if kind == "site" else self.state.person(name)


def on_this_machine(here: Here) -> tuple[Identity, ...]:
    """Everybody whose key lies on this machine: those of the document in its order, then those whom it has not."""
    listed = identities(here.document)
    known = {(each.kind, each.name) for each in listed}
    others = [each for each in _workspaces(here) if (each.kind, each.name) not in known]
    return tuple(each for each in (*listed, *others) if _has_key(here, each))


def _has_key(here: Here, identity: Identity) -> bool:
    return KitPaths.of(here.workspace(identity.name, identity.kind) / "startup", identity).key.exists()


def _workspaces(here: Here) -> list[Identity]:
    found: list[Identity] = []
    folders: tuple[tuple[Kind, Path], ...] = (
        ("site", here.state.site("x").parent),
        ("person", here.state.person("x").parent),
    )
    for kind, folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            found.append(_unlisted(path, kind))
    return found


def _unlisted(workspace: Path, kind: Kind) -> Identity:
    """Somebody whom the document has not, with the organisation that the certificate states."""
    bare = Identity(workspace.name, "", kind)
    certificate = read_kit(workspace / "startup", bare).certificate
    stated = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) if certificate else []
    return Identity(workspace.name, str(stated[0].value) if stated else "", kind)


def asked_for(here: Here, name: str) -> tuple[Identity, ...]:
    """Whom to look at: the one called ``name``, or everybody whose key lies here.

    Raises:
        UsageError: where there is nobody of that name, or nobody at all.
        ProvisioningError: where this user may not see who is here.
    """
    try:
        local = on_this_machine(here)
    except PermissionError as error:
        hint = (
            "run the command as the user whose the folder is, such as the service's own: sudo -u USER cloister doctor"
        )
        message = f"who is on this machine cannot be seen: `{error.filename}` is closed to this user"
        raise ProvisioningError(message, hint=hint) from error
    if not name:
        if not local:
            hint = "say who it is: cloister doctor NAME; `cloister site init NAME` makes a site's key"
            raise UsageError("nobody's key lies on this machine", hint=hint)
        return local
    found = next((each for each in (*identities(here.document), *local) if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in local) or "none"
        raise UsageError(f"`{name}` is not in {ROSTER}, and has no key here", hint=f"keys here: {known}")
    return (found,)


def read(here: Here, identity: Identity) -> Own:
    """What lies here of ``identity``."""
    listed = any(each == identity for each in identities(here.document))
    return read_own(identity, here.workspace(identity.name, identity.kind), listed=listed)
