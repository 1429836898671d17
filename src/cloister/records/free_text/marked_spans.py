# SPDX-License-Identifier: Apache-2.0
"""Marked pieces of a text, as a column of kind `spans` holds them, and what becomes of them when the text is masked.

A span that holds every mask that it touches stays, with its ends moved; one that a mask reaches into from outside, or
covers, is dropped, and so is one that reaches beyond its text, as where the text was cut.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.records.free_text.identifying_pieces import Finding


@dataclass(frozen=True, order=True)
class Span:
    """A marked piece.

    Attributes:
        start: index of its first character.
        end: index of the first character after it.
        label: what it is marked as.
    """

    start: int
    end: int
    label: str


def read_spans(cell: str) -> tuple[Span, ...] | None:
    """What ``cell`` marks; None where it is not a JSON list of objects with `start` below `end`, and `label`.

    Other keys are left out: they may hold pieces of the text.
    """
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list):
        return None
    spans = [_span(each) for each in found]
    return None if None in spans else tuple(span for span in spans if span is not None)


def _span(found: object) -> Span | None:
    if not isinstance(found, dict):
        return None
    start, end, label = (found.get(key) for key in ("start", "end", "label"))
    # A truth value is an integer in Python, and is none here.
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not 0 <= start < end:
        return None
    return Span(start, end, label)


def write_spans(spans: Sequence[Span]) -> str:
    """``spans`` as a cell."""
    return json.dumps([{"start": each.start, "end": each.end, "label": each.label} for each in spans])


def moved(spans: Sequence[Span], findings: Sequence[Finding], masks: Sequence[str], length: int) -> tuple[Span, ...]:
    """Where ``spans`` are once ``masks`` stand in the places of ``findings``; those that cannot stay are left out.

    Args:
        spans: of the text as it was.
        findings: in order, without overlaps.
        masks: one for each.
        length: of the text as it was, in characters.
    """
    kept = []
    for span in spans:
        touching = [each for each in findings if each.start < span.end and span.start < each.end]
        if span.end > length or any(each.start < span.start or span.end < each.end for each in touching):
            continue
        before, within = (
            sum(
                len(mask) - (each.end - each.start)
                for each, mask in zip(findings, masks, strict=True)
                if each.end <= bound
            )
            for bound in (span.start, span.end)
        )
        kept.append(Span(span.start + before, span.end + within, span.label))
    return tuple(kept)
