# SPDX-License-Identifier: Apache-2.0
"""Asks every rule of one text, within a bounded time, and makes findings of what they find.

1. A piece counts when it is as sure as the threshold. A weak pattern becomes sure by a word before the piece that says
   what it is, by Presidio's rule: one of the five words before it adds 0.35, and lifts it to 0.4 at least.
2. Pieces that share a character become one finding, from the first's start to the last's end, called after the surest,
   then the longest, of them: nothing that any rule found is left standing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex

from cloister.records.free_text.identifying_patterns import Rule
from cloister.records.free_text.phone_numbers import PHONE_NUMBER_SCORE, phone_numbers
from cloister.records.free_text.plain_text import plain

_CONTEXT_CHARACTERS, _CONTEXT_WORDS, _CONTEXT_ADDS, _CONTEXT_LIFTS_TO = 80, 5, 0.35, 0.4
_WORDS = regex.compile(r"\w+")


@dataclass(frozen=True, order=True)
class Finding:
    """A piece of a text that seems to name somebody.

    Attributes:
        start: index of its first character.
        end: index of the first character after it.
        entity: what it seems to be.
    """

    start: int
    end: int
    entity: str


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    entity: str
    score: float


def findings_in(text: str, rules: Sequence[Rule], *, threshold: float, seconds: float) -> tuple[Finding, ...]:
    """What ``rules`` find in ``text``, in its order, without overlaps.

    Raises:
        TimeoutError: where it takes longer than ``seconds`` of the processor's time.
        Exception: whatever a rule raises.
    """
    deadline = time.thread_time() + seconds
    readable = plain(text)
    found = _merged(_pieces(readable.text, rules, threshold, deadline))
    return tuple(Finding(*readable.original(each.start, each.end), each.entity) for each in found)


def _pieces(text: str, rules: Sequence[Rule], threshold: float, deadline: float) -> Iterator[_Piece]:
    has = set(text)
    if not has.isdisjoint("0123456789"):
        has.add("0")
        if threshold <= PHONE_NUMBER_SCORE:
            for start, end in phone_numbers(text, deadline):
                yield _Piece(start, end, "PHONE_NUMBER", PHONE_NUMBER_SCORE)
    for rule in rules:
        if not rule.needs.isdisjoint(has):
            left = deadline - time.thread_time()
            if left <= 0:
                raise TimeoutError
            yield from (piece for piece in _found_by(rule, text, left) if piece.score >= threshold)


def _found_by(rule: Rule, text: str, seconds: float) -> Iterator[_Piece]:
    group = "found" if "found" in rule.pattern.groupindex else 0
    for match in rule.pattern.finditer(text, timeout=seconds):
        start, end = match.span(group)
        score = rule.judge(text[start:end])
        if not score and rule.shorter:
            score, end = _shortened(rule, match, text)
        if score and score < 1 and rule.context and _announced(rule.context, text, start):
            score = max(_CONTEXT_LIFTS_TO, score + _CONTEXT_ADDS)
        if score and start < end:
            yield _Piece(start, end, rule.entity, score)


def _shortened(rule: Rule, match: regex.Match[str], text: str) -> tuple[float, int]:
    """The longest piece up to the end of one of the groups that is sure at all, as Presidio does for IBANs."""
    start = match.start()
    for group in range(len(match.groups()), 0, -1):
        end = match.end(group)
        score = rule.judge(text[start:end]) if end > start else 0.0
        if score:
            return score, end
    return 0.0, start


def _announced(context: frozenset[str], text: str, start: int) -> bool:
    words = _WORDS.findall(text[max(0, start - _CONTEXT_CHARACTERS) : start].lower())[-_CONTEXT_WORDS:]
    if not context.isdisjoint(words):
        return True
    before = f" {' '.join(words)} "
    return any(f" {phrase} " in before for phrase in context if " " in phrase)


def _merged(pieces: Iterable[_Piece]) -> Iterator[Finding]:
    group: list[_Piece] = []
    end = -1
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.end)):
        if group and piece.start >= end:
            yield _as_one(group)
            group, end = [], -1
        group.append(piece)
        end = max(end, piece.end)
    if group:
        yield _as_one(group)


def _as_one(group: list[_Piece]) -> Finding:
    surest = max(group, key=lambda piece: (piece.score, piece.end - piece.start, piece.entity))
    return Finding(group[0].start, max(piece.end for piece in group), surest.entity)
