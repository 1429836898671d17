# SPDX-License-Identifier: Apache-2.0
"""Which log of this machine a command means, and with which certificate it is to be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.audit import FILE, FOLDER, Report, verify_own
from cloister.audit.last_checkpoint import path_of
from cloister.certificates import Identity, identities, read_certificate, startup_folder
from cloister.documents import load
from cloister.errors import UsageError
from cloister.flare.state import State
from cloister.provisioning import KitPaths
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation
from cloister.trust import roots_of_the_past

_NVFLARE_LOG = "log.txt"  # what a process of NVFlare's writes as soon as it runs


@dataclass(frozen=True)
class LocalLog:
    """The log of one participant whose workspace is on this machine.

    Attributes:
        name: of the site or server.
        kind: `site` or `server`.
        workspace: the participant's; the log's folder lies in it.
        kit: where its certificates lie.
    """

    name: str
    kind: str
    workspace: Path
    kit: KitPaths

    @property
    def folder(self) -> Path:
        """Where the log lies."""
        return self.workspace / FOLDER

    @property
    def path(self) -> Path:
        """The log."""
        return self.folder / FILE

    @property
    def is_expected(self) -> bool:
        """Whether the log must be there, since the participant has run on this machine."""
        return any(path.exists() for path in (self.folder, path_of(self.folder), self.workspace / _NVFLARE_LOG))

    def verified(self) -> Report:
        """The log, checked on this machine with the certificates of the participant's own kit.

        Raises:
            CloisterError: where it or a certificate cannot be read.
        """
        roots = roots_of_the_past(self.workspace)
        return verify_own(self.folder, read_certificate(self.kit.certificate), roots, self.name)


def expected_logs(folder: Path) -> list[LocalLog]:
    """The logs that must be on this machine, also where one was removed: the server's, then the sites' in roster order.

    The roster alone is read: a mistake in another document must not keep anybody from reading a log.

    Raises:
        CloisterError: where ``folder`` is in no federation, or its roster is invalid.
    """
    root = find_root(folder.resolve())
    roster = load(root / ROSTER, Federation, name=ROSTER).value
    state = State(root)
    everybody = [each for each in identities(roster) if each.kind != "person"]
    return [log for log in (_log(state, each) for each in everybody) if log.is_expected]


def local_log(folder: Path, name: str) -> LocalLog:
    """The log of ``name``, which is there.

    Raises:
        UsageError: where there is none here.
    """
    return named([log for log in expected_logs(folder) if log.path.is_file()], name)


def named(logs: list[LocalLog], name: str) -> LocalLog:
    """The log of ``name`` among ``logs``.

    Raises:
        UsageError: where there is none.
    """
    found = next((log for log in logs if log.name == name), None)
    if found is None:
        known = ", ".join(log.name for log in logs) or "none yet; `cloister up` begins them"
        raise UsageError(f"there is no audit log of `{name}` on this machine", hint=f"logs here: {known}")
    return found


def _log(state: State, identity: Identity) -> LocalLog:
    workspace = state.server if identity.kind == "server" else state.site(identity.name)
    return LocalLog(
        identity.name, identity.kind, workspace, KitPaths.of(startup_folder(state.folder, identity), identity)
    )
