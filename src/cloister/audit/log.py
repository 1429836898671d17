# SPDX-License-Identifier: Apache-2.0
"""The log itself: one file that only grows, a line per event, each on disk before the act that it records.

Several processes write into one log; a lock that dies with its holder keeps them apart. A writer may be killed at any
byte. What it left of a line is found by the next one, who moves it aside into `torn-<sequence>.part` and notes that
as an event of its own, before anything else is written. A damage anywhere else at the end of the file is not mended,
and neither is a log that does not hold the checkpoint that is remembered outside it (`last_checkpoint`): the log then
takes nothing more, and whoever may only act after writing does not act.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cloister.audit.checkpoint import Notary, check_checkpoint, facts_of_checkpoint
from cloister.audit.event import FIRST, MAXIMUM_LINE_BYTES, Entry, Event, Fact, Kind, read_line
from cloister.audit.last_checkpoint import LastCheckpoint, path_of
from cloister.errors import AuditError, CloisterError
from cloister.file_lock import WAIT_SECONDS, lock
from cloister.files import PRIVATE_FILE, private_folder, sha256_of, sync_folder, write_atomically

FOLDER = "audit"
"""Where a participant's log lies in its workspace."""

FILE = "log.jsonl"

CHECKPOINT_EVERY = 100
"""A checkpoint follows each event whose number is a multiple of this, where the log has a notary."""

_HINT = "see `cloister audit verify`; nothing that must be recorded is done until the log can be written again"


class Log:
    """The audit log of one participant.

    Args:
        folder: where it lies; made if it is missing. Beside it lies what is remembered of the last checkpoint.
        participant: the site or server whose log it is.
        notary: gives who signs checkpoints; asked when the first one is due. No checkpoints where None.
        clock: gives the time, aware and in UTC.
    """

    def __init__(
        self,
        folder: Path,
        participant: str,
        notary: Callable[[], Notary] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self.participant = participant
        self._notary = notary
        self._clock = clock
        self._known: Notary | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def append(self, kind: Kind, facts: Mapping[str, Fact] | None = None, *, job: str = "", number: int = 0) -> Entry:
        """Write an event; it is on disk when this returns.

        Args:
            kind: what happened, or is about to.
            facts: see `cloister.audit.event.FACTS`.
            job: the job's identifier, or empty.
            number: the round, or 0.

        Returns:
            The entry as it was written.

        Raises:
            AuditError: where it could not be written. Whatever the event records must then not be done.
        """
        with self._open() as descriptor:
            head = self._head(descriptor)
            event = self._event(head, self._clock(), kind, facts or {})
            entry = self._write(descriptor, head, replace(event, job=job, round=number))
            if self._notary is not None and entry.event.sequence % CHECKPOINT_EVERY == 0:
                self._write_checkpoint(descriptor, entry)
            return entry

    def checkpoint(self) -> Entry:
        """Sign what the log holds by now.

        Returns:
            The checkpoint; a note of why there is none where the notary's certificate does not count now.

        Raises:
            AuditError: where the log has no notary, or cannot be written.
        """
        with self._open() as descriptor:
            return self._write_checkpoint(descriptor, self._head(descriptor))

    def head(self) -> str:
        """Hash of the last entry.

        Raises:
            AuditError: where the log is damaged or cannot be opened.
        """
        with self._open() as descriptor:
            head = self._head(descriptor)
            return head.hash if head else FIRST

    def _event(self, head: Entry | None, time: datetime, kind: Kind, facts: Mapping[str, Fact]) -> Event:
        """The event that follows ``head``, of no job and no round."""
        return Event(head.event.sequence + 1 if head else 1, time, self.participant, kind, "", 0, facts)

    def _write(self, descriptor: int, head: Entry | None, event: Event) -> Entry:
        entry = Entry(event, head.hash if head else FIRST)
        line = entry.line()
        if os.write(descriptor, line) != len(line):
            raise AuditError("the audit log cannot be written: the disk is full", hint=_HINT)
        os.fsync(descriptor)
        return entry

    def _write_checkpoint(self, descriptor: int, head: Entry | None) -> Entry:
        if self._notary is None:
            raise AuditError("the audit log has nobody who signs its checkpoints")
        now = self._clock()
        notary = self._known = self._known if self._known and _counts(self._known, now) else self._notary()
        try:
            entry = self._checkpoint_after(head, notary, now)
        except AuditError as error:  # a bad checkpoint would make a good log bad for ever, so this is said instead
            note: dict[str, Fact] = {"point": "checkpoint", "reason": f"nothing was signed: {error.message}"}
            return self._write(descriptor, head, self._event(head, now, Kind.FAILURE, note))
        self._write(descriptor, head, entry.event)
        end = os.fstat(descriptor).st_size
        LastCheckpoint(entry.event.sequence, entry.hash, end).write(self.folder)
        return entry

    def _checkpoint_after(self, head: Entry | None, notary: Notary, now: datetime) -> Entry:
        """The checkpoint that follows ``head``, seen to be one that `verify` takes."""
        covers, digest = (head.event.sequence, head.hash) if head else (0, FIRST)
        facts = facts_of_checkpoint(notary, self.participant, covers, digest, now)
        entry = Entry(self._event(head, now, Kind.CHECKPOINT, facts), digest)
        check_checkpoint(entry, notary.certificate)
        return entry

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The file, locked; every failure on the way is an `AuditError`."""
        try:
            if not self.folder.is_dir():
                private_folder(self.folder)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.path, flags, PRIVATE_FILE)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise AuditError("the audit log is not a regular file", hint=_HINT)
                lock(descriptor, WAIT_SECONDS)
                if not os.path.samestat(os.fstat(descriptor), self.path.lstat()):
                    raise AuditError("the audit log was replaced by another file", hint=_HINT)
                yield descriptor
            finally:
                os.close(descriptor)  # and with it the lock
        except AuditError:
            raise
        except CloisterError as error:
            raise AuditError(f"the audit log cannot be written: {error.message}", hint=_HINT) from error
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise AuditError(f"the audit log cannot be written: {reason}", hint=_HINT) from error

    def _head(self, descriptor: int) -> Entry | None:
        """The last entry, after whatever a killed writer left was moved aside and noted."""
        size = os.fstat(descriptor).st_size
        remembered = self._remembered(descriptor, size)
        if not size:  # whoever made the file may have been killed before its name was durable
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
        tail = os.pread(descriptor, 2 * MAXIMUM_LINE_BYTES, max(0, size - 2 * MAXIMUM_LINE_BYTES))
        whole, end, torn = tail.rpartition(b"\n")
        if len(torn) > MAXIMUM_LINE_BYTES:
            raise AuditError("the audit log is damaged at its end: no line begins there", hint=_HINT)
        head = self._last(whole + end, size - len(torn)) if end else None
        if remembered is None:
            self._begin(head)
        sequence = head.event.sequence + 1 if head else 1
        if torn:
            self._set_aside(sequence, torn)
            os.ftruncate(descriptor, size - len(torn))
            os.fsync(descriptor)
        parts = sorted(self.folder.glob(f"torn-{sequence}.*part"))
        if not parts:
            return head
        return self._write(descriptor, head, self._event(head, self._clock(), Kind.TORN, _facts_of_parts(parts)))

    def _remembered(self, descriptor: int, size: int) -> LastCheckpoint | None:
        """The last checkpoint, which the file must hold where it stood."""
        remembered = LastCheckpoint.read(self.folder)
        if remembered is None or not remembered.end:
            return remembered
        if size < remembered.end:
            raise AuditError(f"the audit log was cut off or removed: it {remembered.demand()}", hint=_HINT)
        begin = max(0, remembered.end - MAXIMUM_LINE_BYTES - 1)
        before = os.pread(descriptor, remembered.end - begin, begin)
        if not remembered.is_line(before[before.rfind(b"\n", 0, -1) + 1 :]):
            raise AuditError(f"the audit log was replaced by another: it {remembered.demand()}", hint=_HINT)
        return remembered

    def _begin(self, head: Entry | None) -> None:
        """Begin the memory, before the log's first line."""
        if head:
            raise AuditError(f"the memory of the last checkpoint `{path_of(self.folder)}` is missing", hint=_HINT)
        LastCheckpoint().write(self.folder)

    def _last(self, lines: bytes, end: int) -> Entry:
        line = lines[lines.rfind(b"\n", 0, -1) + 1 :]
        try:
            if len(line) == len(lines) and end > len(lines):
                raise AuditError("no line begins there")
            entry = read_line(line)
        except AuditError as error:
            raise AuditError(f"the audit log is damaged at its end: {error.message}", hint=_HINT) from error
        if entry.event.participant != self.participant:
            raise AuditError(
                f"the audit log is `{entry.event.participant}`'s and not `{self.participant}`'s", hint=_HINT
            )
        return entry

    def _set_aside(self, sequence: int, torn: bytes) -> None:
        """Keep the piece under a name that is not taken by another piece."""
        number, path = 1, self.folder / f"torn-{sequence}.part"
        while path.exists() and path.read_bytes() != torn:  # the writer of the note may be killed as well
            number += 1
            path = self.folder / f"torn-{sequence}.{number}.part"
        write_atomically(path, torn)


def _facts_of_parts(parts: list[Path]) -> dict[str, Fact]:
    contents = [part.read_bytes() for part in parts]
    return {
        "files": tuple(part.name for part in parts),
        "bytes": tuple(len(content) for content in contents),
        "digests": tuple(sha256_of(content) for content in contents),
    }


def _counts(notary: Notary, now: datetime) -> bool:
    return notary.certificate.not_valid_before_utc <= now <= notary.certificate.not_valid_after_utc
