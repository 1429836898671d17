# SPDX-License-Identifier: Apache-2.0
"""Reading a log, its own or somebody else's copy: line by line, while others may be writing it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.audit.event import MAXIMUM_LINE_BYTES, Entry, read_line
from cloister.errors import AuditError
from cloister.file_lock import WAIT_SECONDS, lock


@dataclass(frozen=True)
class Unreadable:
    """A line that is no event.

    Attributes:
        line: 1-based, in the file.
        message: why not; one sentence, lower case, without full stop.
    """

    line: int
    message: str


def lines(path: Path) -> Iterator[bytes]:
    """The lines of the log at ``path``, as far as it reaches now; the last one may lack its newline.

    A line that is longer than one may be comes in pieces, none of which is an event.

    Raises:
        AuditError: where it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            left = _size_between_writes(stream.fileno())
            while left > 0 and (line := stream.readline(min(left, MAXIMUM_LINE_BYTES + 1))):
                left -= len(line)
                yield line
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise AuditError(f"the audit log `{path}` cannot be read: {reason}") from error


def every_line(path: Path) -> Iterator[Entry | Unreadable]:
    """What each line of the log at ``path`` holds; whether the chain holds is `verify`'s question.

    Raises:
        AuditError: where the file cannot be read.
    """
    for number, line in enumerate(lines(path), 1):
        try:
            found: Entry | Unreadable = read_line(line)
        except AuditError as error:
            found = Unreadable(number, error.message)
        yield found


def entries(path: Path) -> Iterator[Entry]:
    """The events of the log at ``path`` that can be read, and nothing of what cannot: for a log that was verified.

    Raises:
        AuditError: where the file cannot be read.
    """
    return (found for found in every_line(path) if isinstance(found, Entry))


def _size_between_writes(descriptor: int) -> int:
    lock(descriptor, WAIT_SECONDS, shared=True)  # so that no line is seen while it is being written
    try:
        return os.fstat(descriptor).st_size
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
