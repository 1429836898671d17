# SPDX-License-Identifier: Apache-2.0
"""One event of the audit log, and the one line of text that it is.

A line is canonical JSON: the event, `previous` (the hash of the line before) and `hash` (SHA-256 of the line without
`hash`). Facts are counts, digests, names, rule ids and sentences of Cloister's own; each kind of event has its list of
them, and an event with any other is refused. The value of a record is never a fact.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cloister.errors import AuditError
from cloister.files import canonical_json, sha256_of

MAXIMUM_LINE_BYTES = 64 * 1024
"""The longest line, its newline included: a line must be found by reading a bounded piece of the file's end."""

FIRST = "0" * 64
"""What stands in `previous` of a log's first line."""

Scalar = str | int | float | bool
Fact = Scalar | tuple[Scalar, ...]

_MAXIMUM_TEXT = 2000
_MAXIMUM_ENVELOPE = 32 * 1024
_MAXIMUM_ITEMS = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62})")
_JOB = re.compile(r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?")
_KEYS = {"facts", "hash", "job", "kind", "participant", "previous", "round", "sequence", "time"}
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Kind(StrEnum):
    """What can be in the log."""

    START = "start"
    STOP = "stop"
    KEY = "key"
    POLICY = "policy"
    DECISION = "decision"
    VIEW = "view"
    PREVIEW = "preview"
    RELEASE = "release"
    RECEIVE = "receive"
    RESULT = "result"
    FAILURE = "failure"
    CHECKPOINT = "checkpoint"
    TORN = "torn"


FACTS: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        Kind.START: frozenset({"version", "process"}),
        Kind.STOP: frozenset({"process", "reason"}),
        Kind.KEY: frozenset({"certificate", "valid_until"}),
        Kind.POLICY: frozenset(
            {"digest", "policy", "version", "signer", "until", "baseline_version", "baseline_signer"}
        ),
        Kind.DECISION: frozenset(
            {
                "point",
                "effect",
                "rules",
                "waived",
                "reason",
                "policy",
                "document",
                "code",
                "submitter",
                "organisation",
                "role",
            }
        ),
        Kind.VIEW: frozenset(
            {
                "dataset",
                "training",
                "validation",
                "filtered",
                "rejected",
                "people",
                "identifying",
                "labels",
                "classes",
                "classes_digest",
                "digest",
            }
        ),
        Kind.PREVIEW: frozenset({"account", "dataset", "columns", "records", "policy"}),
        Kind.RELEASE: frozenset({"reply", "digest", "bytes", "records", "norm", "metrics"}),
        Kind.RECEIVE: frozenset({"site", "reply", "digest", "bytes", "records", "site_head"}),
        Kind.RESULT: frozenset({"document", "adapter", "chosen_round", "sites"}),
        Kind.FAILURE: frozenset({"point", "reason"}),
        Kind.CHECKPOINT: frozenset({"covers", "head", "envelope"}),
        Kind.TORN: frozenset({"files", "bytes", "digests"}),
    }
)
"""Which facts an event of each kind may have; docs/audit.md says what they mean."""


@dataclass(frozen=True)
class Event:
    """Something that happened at one participant.

    Attributes:
        sequence: 1 for the log's first, then one more each.
        time: aware, UTC, to the microsecond.
        participant: the site or server whose log it is.
        kind: what happened.
        job: NVFlare's identifier of the job, or empty.
        round: 1-based, or 0 where the event is of no round.
        facts: what there is to say; see `FACTS`.
    """

    sequence: int
    time: datetime
    participant: str
    kind: Kind
    job: str
    round: int
    facts: Mapping[str, Fact]

    def __post_init__(self) -> None:
        """Refuse what a log may not hold.

        Raises:
            AuditError: in words that quote nothing of the event but names.
        """
        if self.time.utcoffset() != UTC.utcoffset(None):
            raise AuditError("an event's time is not in UTC")
        if not _NAME.fullmatch(self.participant):
            raise AuditError("an event's participant is not the name of a site or server")
        if not _JOB.fullmatch(self.job):
            raise AuditError("an event's job is not the identifier of one")
        if not all(type(number) is int and number >= least for number, least in ((self.sequence, 1), (self.round, 0))):
            raise AuditError("an event's number is not one")
        facts = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in self.facts.items()}
        if unknown := sorted(set(facts) - FACTS[self.kind]):
            raise AuditError(f"an event of kind `{self.kind}` has no fact `{str(unknown[0])[:40]}`")
        for name, fact in facts.items():
            items = fact if isinstance(fact, tuple) else (fact,)
            if len(items) > _MAXIMUM_ITEMS or not all(_is_scalar(item, _longest(name)) for item in items):
                raise AuditError(f"the fact `{name}` of an event is not a short text, a number or a list of them")
        object.__setattr__(self, "facts", MappingProxyType(facts))


def _longest(name: str) -> int:
    return _MAXIMUM_ENVELOPE if name == "envelope" else _MAXIMUM_TEXT


def _is_scalar(value: object, longest: int) -> bool:
    if isinstance(value, str):
        return len(value) <= longest and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int)) and abs(int(value)) < 1 << 63


@dataclass(frozen=True)
class Entry:
    """An event in its place in the chain.

    Attributes:
        event: the event.
        previous: hash of the entry before, or `FIRST`.
    """

    event: Event
    previous: str

    @property
    def hash(self) -> str:
        """SHA-256 of the line without its own hash."""
        return sha256_of(canonical_json(self._value()))

    def line(self) -> bytes:
        """The line, its newline included.

        Raises:
            AuditError: where it would be longer than a line may be.
        """
        value = self._value()
        line = canonical_json(value | {"hash": sha256_of(canonical_json(value))}) + b"\n"
        if len(line) > MAXIMUM_LINE_BYTES:
            raise AuditError(f"an event of kind `{self.event.kind}` is longer than a line of the log may be")
        return line

    def to_json(self) -> dict[str, Any]:
        """As plain values, its hash included."""
        return self._value() | {"hash": self.hash}

    def _value(self) -> dict[str, Any]:
        event = self.event
        facts = {name: list(fact) if isinstance(fact, tuple) else fact for name, fact in event.facts.items()}
        return {
            "facts": facts,
            "job": event.job,
            "kind": event.kind.value,
            "participant": event.participant,
            "previous": self.previous,
            "round": event.round,
            "sequence": event.sequence,
            "time": time_text(event.time),
        }


def read_line(line: bytes) -> Entry:
    """The entry that ``line``, with its newline, holds.

    Raises:
        AuditError: where it is not exactly the line of an event; the sentence says in which way.
    """
    if not line.endswith(b"\n"):
        raise AuditError("the line does not end: its writer was stopped")
    if len(line) > MAXIMUM_LINE_BYTES:
        raise AuditError("the line is longer than one may be")
    try:
        value = json.loads(line)
        if not isinstance(value, dict) or value.keys() != _KEYS:
            raise AuditError("the line is not an event")
        time = datetime.strptime(value["time"], _TIME).replace(tzinfo=UTC)
        place = (value["sequence"], time, value["participant"], Kind(value["kind"]))
        entry = Entry(Event(*place, value["job"], value["round"], value["facts"]), str(value["previous"]))
        written = entry.line()
    except AuditError:
        raise
    except Exception as error:  # a gate: a line that cannot be read, for whatever reason, is none
        raise AuditError("the line is not an event") from error
    if value["hash"] != entry.hash:
        raise AuditError("the line was edited: its hash is not the one of what it says")
    # JSON has spellings to spare; one event is one sequence of bytes.
    if written != line or not _SHA256.fullmatch(entry.previous):
        raise AuditError("the line was edited: it is not in canonical form")
    return entry


def time_text(time: datetime) -> str:
    """``time`` as the log writes it (RFC 3339, UTC, microseconds)."""
    return time.strftime(_TIME)
