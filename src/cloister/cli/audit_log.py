# SPDX-License-Identifier: Apache-2.0
"""Which log of this machine a command means, and with which certificate it is to be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from cloister.audit import FILE
from cloister.documents import load
from cloister.errors import UsageError
from cloister.flare.state import State
from cloister.provisioning import Identity, KitPaths, identities, read_certificate, startup_folder
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation


@dataclass(frozen=True)
class LocalLog:
    """The log of one participant whose workspace is on this machine.

    Attributes:
        name: of the site or server.
        kind: `site` or `server`.
        path: the log.
        kit: where its certificates lie.
    """

    name: str
    kind: str
    path: Path
    kit: KitPaths

    def certificate(self) -> x509.Certificate:
        """The participant's own certificate."""
        return read_certificate(self.kit.certificate)

    def root(self) -> x509.Certificate:
        """The authority's certificate, from the participant's own kit."""
        return read_certificate(self.kit.root)


def local_logs(folder: Path) -> list[LocalLog]:
    """The logs on this machine: the server's, then the sites' in the roster's order.

    The roster alone is read: a mistake in another document must not keep anybody from reading a log.

    Raises:
        CloisterError: where ``folder`` is in no federation, or its roster is invalid.
    """
    root = find_root(folder.resolve())
    roster = load(root / ROSTER, Federation, name=ROSTER).value
    state = State(root)
    everybody = [each for each in identities(roster) if each.kind != "person"]
    return [log for log in (_log(state, each) for each in everybody) if log.path.is_file()]


def local_log(folder: Path, name: str) -> LocalLog:
    """The log of ``name``.

    Raises:
        UsageError: where there is none here.
    """
    logs = local_logs(folder)
    found = next((log for log in logs if log.name == name), None)
    if found is None:
        known = ", ".join(log.name for log in logs) or "none yet; `cloister up` begins them"
        raise UsageError(f"there is no audit log of `{name}` on this machine", hint=f"logs here: {known}")
    return found


def _log(state: State, identity: Identity) -> LocalLog:
    workspace = state.server if identity.kind == "server" else state.site(identity.name)
    paths = KitPaths.of(startup_folder(state.folder, identity), identity)
    return LocalLog(identity.name, identity.kind, workspace / "audit" / FILE, paths)
