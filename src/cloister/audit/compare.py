# SPDX-License-Identifier: Apache-2.0
"""One job in two logs: what a site says it released against what the server says it received.

The server also notes the end of the site's log that came with an update. That entry must be in the site's log: where it
is not, either the site's log was rewritten or cut off after the update had left, or the server noted another entry than
came. Whoever compares has verified each log before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from cloister.audit.event import FIRST, Entry, Kind

ERROR = "error"
"""Kind of a received message that is an error code of NVFlare's, which the site's log does not know."""

UNREADABLE = "unreadable"
"""Kind of a received message that is none of Cloister's."""


class Verdict(StrEnum):
    """How two logs agree on one message."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_RECEIVED = "not received"
    NOT_RELEASED = "not released"
    HEADS_DISAGREE = "heads disagree"
    NOT_RECORDED = "site could not record"
    ERROR_CODE = "error code"
    NO_LOG = "no log"

    @property
    def is_contradiction(self) -> bool:
        """Whether one of the two logs must be wrong; a message that was lost on its way is none."""
        return self in (Verdict.DIFFERENT, Verdict.NOT_RELEASED, Verdict.HEADS_DISAGREE)


@dataclass(frozen=True, order=True)
class Row:
    """One message of a site.

    Attributes:
        site: who sent it.
        round: 1-based; 0 before the first.
        reply: which kind of message.
        released: digest in the site's log; empty where it is not there.
        received: digest in the server's log; empty where it is not there.
        bytes: of the tensors, as the sender says, or the receiver where the sender says nothing.
        verdict: how the two agree.
    """

    site: str
    round: int
    reply: str
    released: str
    received: str
    bytes: int
    verdict: Verdict


def compare(
    job: str, sites: Mapping[str, Iterable[Entry]], server: Iterable[Entry], fixed: Collection[str] = ()
) -> list[Row]:
    """Set the logs of ``sites`` beside the server's, for one job.

    A message is what a site sent once: its digest in both logs. What has no counterpart of the same digest is set
    beside what has none of the same site, round and kind.

    Args:
        job: NVFlare's identifier.
        sites: the log of each site that is to be compared. A site that the server names and that is not among them
            has no log.
        server: the server's log.
        fixed: digests of the messages that a site sends where it cannot write its log; it has none of them.
    """
    received: dict[str, list[Entry]] = {}
    for entry in server:
        if entry.event.kind is Kind.RECEIVE and entry.event.job == job:
            received.setdefault(str(entry.event.facts.get("site", "")), []).append(entry)
    rows: list[Row] = []
    for site, log in sites.items():
        heads, released = {FIRST}, []
        wanted = {str(entry.event.facts["site_head"]) for entry in received.get(site, []) if _has_head(entry)}
        for entry in log:
            if (digest := entry.hash) in wanted:
                heads.add(digest)
            if entry.event.kind is Kind.RELEASE and entry.event.job == job:
                released.append(entry)
        rows += _rows(site, released, received.get(site, []), heads)
    for site in received.keys() - sites.keys():
        rows += [_row(site, None, entry, Verdict.NO_LOG) for entry in received[site]]
    return sorted(_as_sent_unrecorded(row, fixed) for row in rows)


def _as_sent_unrecorded(row: Row, fixed: Collection[str]) -> Row:
    """``row``, where the site's log says nothing because a site writes nothing there of such a message."""
    if row.verdict is not Verdict.NOT_RELEASED:
        return row
    if row.reply == ERROR:
        return replace(row, verdict=Verdict.ERROR_CODE)
    return replace(row, verdict=Verdict.NOT_RECORDED) if row.received in fixed else row


def _rows(site: str, released: list[Entry], received: list[Entry], heads: set[str]) -> list[Row]:
    rows: list[Row] = []
    left = list(received)
    alone: list[Entry] = []
    for entry in released:
        match = next((each for each in left if _key(each) == _key(entry) and _digest(each) == _digest(entry)), None)
        if match is None:
            alone.append(entry)
            continue
        left.remove(match)
        known = not _has_head(match) or str(match.event.facts["site_head"]) in heads
        rows.append(_row(site, entry, match, Verdict.SAME if known else Verdict.HEADS_DISAGREE))
    for entry in alone:
        match = next((each for each in left if _key(each) == _key(entry)), None)
        if match is not None:
            left.remove(match)
        rows.append(_row(site, entry, match, Verdict.DIFFERENT if match else Verdict.NOT_RECEIVED))
    return rows + [_row(site, None, entry, Verdict.NOT_RELEASED) for entry in left]


def _row(site: str, released: Entry | None, received: Entry | None, verdict: Verdict) -> Row:
    said = released or received
    if said is None:
        raise ValueError("a row is of a message")
    number, reply = _key(said)
    size = said.event.facts.get("bytes", 0)
    sent, came = (_digest(each) if each else "" for each in (released, received))
    return Row(site, number, reply, sent, came, size if isinstance(size, int) else 0, verdict)


def _key(entry: Entry) -> tuple[int, str]:
    return entry.event.round, str(entry.event.facts.get("reply", ""))


def _digest(entry: Entry) -> str:
    return str(entry.event.facts.get("digest", ""))


def _has_head(entry: Entry) -> bool:
    return "site_head" in entry.event.facts
