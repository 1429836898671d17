# SPDX-License-Identifier: Apache-2.0
"""What a participant remembers of its log: where its last checkpoint stands.

The memory lies in the participant's workspace, beside the log's folder and not in it. A log that was removed, cut off
or replaced by an older copy contradicts it, and then takes nothing more. It is written after the checkpoint that it
remembers is on the disk, so a crash leaves a memory that is older than the log and never one that is newer. It is begun
before a log's first line, so a log with a line and without a memory is one whose memory was taken away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cloister.audit.event import FIRST, read_line
from cloister.errors import AuditError
from cloister.files import canonical_json, write_atomically

SUFFIX = "-checkpoint.json"


@dataclass(frozen=True)
class LastCheckpoint:
    """The last checkpoint that a log is known to hold.

    Attributes:
        sequence: its number; 0 for a log that holds none yet.
        hash: its hash; `FIRST` for a log that holds none yet.
        end: how many bytes the log has up to its line's end.
    """

    sequence: int = 0
    hash: str = FIRST
    end: int = 0

    @classmethod
    def read(cls, folder: Path) -> LastCheckpoint | None:
        """The memory of the log in ``folder``; None where there is none.

        Raises:
            AuditError: where there is one that cannot be read.
        """
        path = path_of(folder)
        try:
            found = cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise _unreadable(path) from error
        if not (type(found.sequence) is int and type(found.end) is int and isinstance(found.hash, str)):
            raise _unreadable(path)
        return found

    def is_line(self, line: bytes) -> bool:
        """Whether ``line``, with its newline, is the checkpoint that is remembered."""
        try:
            entry = read_line(line)
        except AuditError:
            return False
        return (entry.event.sequence, entry.hash) == (self.sequence, self.hash)

    def demand(self) -> str:
        """What the log must have, as the end of a sentence."""
        return f"does not hold entry {self.sequence}, which its participant signed and remembers"

    def write(self, folder: Path) -> None:
        """Remember; on the disk when this returns.

        Raises:
            OSError: where it cannot be written.
        """
        write_atomically(path_of(folder), canonical_json(asdict(self)) + b"\n")


def path_of(folder: Path) -> Path:
    """Where the memory of the log in ``folder`` lies: beside that folder."""
    return folder.with_name(folder.name + SUFFIX)


def _unreadable(path: Path) -> AuditError:
    hint = "see `cloister audit verify`; docs/audit.md says how a log is begun anew"
    return AuditError(f"the memory of the last checkpoint `{path}` cannot be read", hint=hint)
