# SPDX-License-Identifier: Apache-2.0
"""The authority whose folder is on this machine, for the commands that use it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloister.cli.console import Output
from cloister.documents import load
from cloister.errors import UsageError
from cloister.flare.state import State
from cloister.provisioning.authority import AUTHORITY_FOLDER, CERTIFICATE_FILE, Authority
from cloister.provisioning.distribution import distribute, mailbox_of
from cloister.provisioning.kit_archive import DOCUMENTS
from cloister.provisioning.publication import latest_version, publish
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation, Role


@dataclass(frozen=True)
class AuthorityHere:
    """An authority with the documents that it signs from.

    Attributes:
        root: the folder with the documents.
        state: the state folder.
        federation: the roster's document.
        authority: the authority.
    """

    root: Path
    state: State
    federation: Federation
    authority: Authority

    @classmethod
    def at(cls, folder: Path) -> AuthorityHere:
        """The authority in the federation's folder around ``folder``.

        Raises:
            CloisterError: where there is none, or it cannot be read.
        """
        root = find_root(folder.resolve())
        federation = load(root / ROSTER, Federation, name=ROSTER).value
        state = State(root)
        if not (state.folder / AUTHORITY_FOLDER / CERTIFICATE_FILE).exists():
            hint = "run it where the authority is; `cloister authority init` makes a new one"
            raise UsageError("there is no authority on this machine", hint=hint)
        return cls(root, state, federation, Authority.open(state.folder / AUTHORITY_FOLDER))

    @property
    def mailbox(self) -> Path:
        """The mailbox on this machine."""
        return mailbox_of(self.state.folder)

    def documents(self) -> dict[str, bytes]:
        """What a kit brings of the documents."""
        return {name: (self.root / name).read_bytes() for name in DOCUMENTS if (self.root / name).is_file()}

    def publish(self, out: Output, grants: dict[str, bytes] | None = None) -> int:
        """Sign a new roster and distribute it with ``grants``; returns its version."""
        content = publish(self.authority, self.federation, datetime.now(UTC))
        self.distribute(content, out, grants)
        return latest_version(self.authority.folder)

    def distribute(self, roster: bytes, out: Output, grants: dict[str, bytes] | None = None) -> None:
        """Put a roster and certificates into the mailbox, and say what is left to do."""
        distribute(self.authority, self.federation, self.state.folder, roster, grants)
        version = latest_version(self.authority.folder)
        if self.mailbox.parent == self.authority.folder:
            carrier = next((each.name for each in self.federation.people if each.role is Role.IT_ADMIN), "IT_ADMIN")
            said = f"version {version} of the roster is signed; once the server runs, bring it there"
            out.say(f"{said}: cloister authority deposit --as {carrier}")
        else:
            out.say(f"version {version} of the roster is signed, and is in the server's mailbox")
