# SPDX-License-Identifier: Apache-2.0
"""What the server said of itself as a participant last spoke with its mailbox: its clock, and its version.

A site's running process has the one connection that bears the site's name, so `cloister doctor` cannot ask beside it.
It reads what the process wrote down. Nothing is decided by it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cloister.files import read_regular, write_json

FILE = "last-contact.json"
EVERY = timedelta(minutes=1)
"""How much older what is written may be than what was said: participants speak every ten seconds."""

_MAXIMUM_BYTES = 4096
_MOST_CHARACTERS = 100


@dataclass(frozen=True)
class LastContact:
    """One answer of the server's.

    Attributes:
        at: what this machine's clock showed, aware.
        server_time: what the server's clock showed, aware.
        version: of Cloister at the server.
    """

    at: datetime
    server_time: datetime
    version: str

    @classmethod
    def read(cls, workspace: Path) -> LastContact | None:
        """The last one of the participant whose workspace it is; None where there is none that can be read."""
        try:
            found = json.loads(read_regular(workspace / FILE, _MAXIMUM_BYTES))
            at, server_time = (datetime.fromisoformat(found[key]).astimezone(UTC) for key in ("at", "server_time"))
            return cls(at, server_time, str(found["version"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def write(self, workspace: Path) -> None:
        """Write it down for `read`."""
        said = {"at": self.at.isoformat(), "server_time": self.server_time.isoformat(), "version": self.version}
        write_json(workspace / FILE, said)


def note_contact(workspace: Path, answer: dict[str, Any], now: datetime) -> None:
    """Write down what the server's ``answer`` says of itself, once in a while; what it does not say is not.

    Args:
        workspace: the participant's.
        answer: of the mailbox; see `cloister.flare.mailbox.Mailbox.sync`.
        now: aware time.
    """
    try:
        before = LastContact.read(workspace)
        found = LastContact(
            now, datetime.fromisoformat(str(answer["time"])).astimezone(UTC), str(answer["version"])[:_MOST_CHARACTERS]
        )
        if before is None or before.version != found.version or not timedelta() <= now - before.at < EVERY:
            found.write(workspace)
    except (OSError, ValueError, KeyError, OverflowError):  # what has come with the answer counts without a note
        return
