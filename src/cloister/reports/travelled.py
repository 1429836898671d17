# SPDX-License-Identifier: Apache-2.0
"""In what form values travelled, and how many bytes went up and down, by round and by site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.filesize import decimal

ROUND_HEAD = ("round", "sites", "up from a site", "down to a site", "up from all", "down to all")
"""Titles of the columns that `by_round` gives."""

_AS_THEY_ARE = "float32"
_NONE = "-"
_UP, _DOWN = "received", "sent"  # as the server sees it, whose words are in `result.json`


def form_words(job: dict[str, Any]) -> str:
    """What the job says under `compression`; plain text.

    Args:
        job: the job's document, as `result.json` holds it.
    """
    said = job.get("compression") or {}
    up, down = said.get("up", _AS_THEY_ARE), said.get("down", _AS_THEY_ARE)
    if up == down == _AS_THEY_ARE:
        return "as they are (float32), both ways"
    feedback = "with" if said.get("error_feedback", True) else "without"
    return f"up as {up}, down as {down}, {feedback} error feedback"


def counted_words(result: dict[str, Any]) -> str:
    """What the bytes are of."""
    if by_round(result):
        return (
            "Bytes at the server's socket, with everything that travels around values; the first round has all that "
            "was before it, and the whole what came after the last."
        )
    return "Nothing counted bytes at a socket; those of the sites' encoded updates are told."


def by_round(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of a table of rounds, the last being the whole; empty where no socket counted.

    Of a site the least and the most are told where sites differ: in a round among those whose update counted, of the
    whole job among those that took part. What the others exchanged is in the sums.
    """
    rows = [
        _row(str(entry["round"]), entry["socket"], entry["sites"]) for entry in result["history"] if entry.get("socket")
    ]
    if not rows:
        return []
    sockets = {name: site.get("socket") for name, site in result["sites"].items()}
    took_part = [name for name, site in result["sites"].items() if site["training"] is not None]
    return [*rows, _row("whole job", sockets, took_part)]


def of_site(site: dict[str, Any]) -> tuple[str, str]:
    """What a site sent up and was sent down in the whole job; without a socket, its encoded updates and a dash.

    Args:
        site: one of `sites` of a job's `result.json`.
    """
    socket = site.get("socket")
    if socket:
        return decimal(_count(socket, _UP)), decimal(_count(socket, _DOWN))
    return (decimal(_count(site, "bytes")) if site.get("training") is not None else _NONE), _NONE


def _row(title: str, counts: dict[str, Any], sites: Sequence[str]) -> tuple[str, ...]:
    ways = (_UP, _DOWN)
    spans = (_span([_count(counts[site], way) for site in sites if site in counts]) for way in ways)
    sums = (decimal(sum(_count(each, way) for each in counts.values())) for way in ways)
    return title, str(len(sites)), *spans, *sums


def _count(counts: Any, key: str) -> int:
    """A number of bytes; a server may have put anything in its place."""
    value = counts.get(key) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0


def _span(counts: Sequence[int]) -> str:
    if not counts:
        return _NONE
    least, most = decimal(min(counts)), decimal(max(counts))
    return least if least == most else f"{least} to {most}"
