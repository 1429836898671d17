# SPDX-License-Identifier: Apache-2.0
"""Is the log what was written? Needs its lines and the participant's certificate, and nothing else.

Entries up to the last good checkpoint are vouched for by the participant's key: changing, leaving out, adding or
moving one of them is found. Entries after it are held together by the chain alone, which anybody can recompute; and a
log that was cut off at some entry looks like a log that ended there. Both are said, not hidden: the report counts the
entries after the last checkpoint, what the participant remembers of its last checkpoint (`last_checkpoint`) finds an
older end, and `cloister audit compare` finds an end that another participant had seen. A log begins with a checkpoint
at its participant's first start, so one that holds no entry or no checkpoint is not what was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509

from cloister.audit.checkpoint import check_checkpoint
from cloister.audit.event import FIRST, Entry, Kind, read_line
from cloister.audit.last_checkpoint import LastCheckpoint
from cloister.errors import AuditError


class Fault(StrEnum):
    """What can be wrong with the first entry that is, or with the log as a whole."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    REPLACED = "replaced"
    FOREIGN = "foreign"
    CHECKPOINT = "bad checkpoint"
    TORN = "torn tail"
    CUT = "cut off"
    EMPTY = "empty"
    UNSIGNED = "unsigned"
    MISSING = "missing"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Broken:
    """The first entry that is not what was written.

    Attributes:
        line: 1-based, in the file; 0 where the log as a whole is meant.
        fault: which kind of damage.
        message: one sentence, lower case, without full stop.
    """

    line: int
    fault: Fault
    message: str


@dataclass(frozen=True)
class Report:
    """What a log was found to be.

    Attributes:
        participant: whose log it was checked as.
        entries: how many entries are in order, from the first on.
        covered: the first so many of them are vouched for by a checkpoint.
        checkpoints: good ones.
        head: hash of the last entry in order.
        broken: the first entry that is not in order; None where all are.
    """

    participant: str
    entries: int
    covered: int
    checkpoints: int
    head: str
    broken: Broken | None

    @property
    def uncovered(self) -> int:
        """Entries in order that no checkpoint vouches for; the last checkpoint itself is not counted."""
        return self.entries - self.covered - (1 if self.checkpoints else 0)


def verify(
    lines: Iterable[bytes],
    certificate: x509.Certificate,
    roots: Sequence[x509.Certificate] = (),
    participant: str = "",
    remembered: LastCheckpoint | None = None,
) -> Report:
    """Read a log from its first line to its first broken entry; holds one entry at a time.

    Args:
        lines: the log's lines, newlines included.
        certificate: the participant's.
        roots: authorities, also former ones; with them, checkpoints count that were signed with an earlier key of the
            participant.
        participant: whose log it must be; the common name in ``certificate`` where empty.
        remembered: where given, the checkpoint that the log must hold at its place.
    """
    owner = participant or _common_name(certificate)
    last: Entry | None = None
    covered = checkpoints = 0
    broken: Broken | None = None
    rest = iter(lines)
    for count, line in enumerate(rest, 1):
        try:
            entry = read_line(line)
        except AuditError as error:
            torn = not line.endswith(b"\n") and next(rest, None) is None
            broken = Broken(count, Fault.TORN if torn else Fault.EDITED, error.message)
            break
        broken = _misplaced(entry, last, owner, count, rest) or _misjudged(entry, certificate, roots, count)
        broken = broken or _contradicting(entry, remembered, count)
        if broken:
            break
        if entry.event.kind is Kind.CHECKPOINT:
            covered, checkpoints = entry.event.sequence - 1, checkpoints + 1
        last = entry
    in_order, head = (last.event.sequence, last.hash) if last else (0, FIRST)
    broken = broken or _incomplete(in_order, checkpoints, remembered)
    return Report(owner, in_order, covered, checkpoints, head, broken)


def _misplaced(entry: Entry, last: Entry | None, owner: str, line: int, rest: Iterator[bytes]) -> Broken | None:
    """Why ``entry`` may not follow ``last``; looks through the ``rest`` only where something is amiss."""
    event = entry.event
    expected, previous = (last.event.sequence + 1, last.hash) if last else (1, FIRST)
    if event.participant != owner:
        return Broken(line, Fault.FOREIGN, f"the entry is `{event.participant}`'s, and the log is `{owner}`'s")
    if event.sequence > expected:
        missing = f"{expected}" if event.sequence == expected + 1 else f"{expected} to {event.sequence - 1}"
        if any(_sequence(each) == expected for each in rest):
            return Broken(line, Fault.REORDERED, f"entry {event.sequence} stands here, and entry {expected} further on")
        return Broken(line, Fault.REMOVED, f"entry {event.sequence} stands here, and entry {missing} is missing")
    if event.sequence < expected:
        return Broken(line, Fault.INSERTED, f"entry {event.sequence} stands here a second time")
    if entry.previous != previous:
        message = f"entry {event.sequence} does not follow the entry before it: one of the two was replaced"
        return Broken(line, Fault.REPLACED, message)
    return None


def _misjudged(
    entry: Entry, certificate: x509.Certificate, roots: Sequence[x509.Certificate], line: int
) -> Broken | None:
    if entry.event.kind is not Kind.CHECKPOINT:
        return None
    try:
        check_checkpoint(entry, certificate, roots)
    except AuditError as error:
        return Broken(line, Fault.CHECKPOINT, error.message)
    return None


def _contradicting(entry: Entry, remembered: LastCheckpoint | None, line: int) -> Broken | None:
    if remembered is None or entry.event.sequence != remembered.sequence or entry.hash == remembered.hash:
        return None
    message = f"entry {remembered.sequence} is another than the checkpoint that the participant signed and remembers"
    return Broken(line, Fault.REPLACED, message)


def _incomplete(entries: int, checkpoints: int, remembered: LastCheckpoint | None) -> Broken | None:
    """What a log in order lacks."""
    if remembered and entries < remembered.sequence:
        return Broken(
            entries + 1, Fault.CUT, f"the log ends before entry {remembered.sequence}: it {remembered.demand()}"
        )
    if not entries:
        return Broken(0, Fault.EMPTY, "the log holds nothing, and a log begins with its participant's first start")
    if not checkpoints:
        return Broken(
            0, Fault.UNSIGNED, "no checkpoint vouches for any entry, and each start of a participant signs one"
        )
    return None


def _sequence(line: bytes) -> int:
    try:
        return read_line(line).event.sequence
    except AuditError:
        return 0


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
