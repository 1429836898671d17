# SPDX-License-Identifier: Apache-2.0
"""The gate for free text: finds pieces that seem to name somebody, and masks them.

1. What patterns can find is found: numbers, addresses of machines and people, dates, and names beside a word that
   announces one. Other names are not. docs/records.md says how much is found, measured.
2. A piece is replaced by what it seems to be, as in `[EMAIL_ADDRESS]`; `identifying_pieces` beside
   this says what counts as one.
3. Fail closed: a rule that errs or takes too long refuses the text, and with it the view, with a `RecordsError` that
   says no more than that. The time for one text is bounded.
4. A conversation is masked in every text of its JSON, whatever its keys; where a cell is no JSON, the cell is masked as
   it stands. Which spans of a masked text stay is said in `cloister.records.free_text.marked_spans`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.free_text.identifying_patterns import Rule, own_rules
from cloister.records.free_text.identifying_pieces import Finding, findings_in
from cloister.records.free_text.marked_spans import moved, read_spans, write_spans

THRESHOLD = 0.3
"""How sure a piece has to be: the lowest at which fractions in abstracts, such as `5/14`, are not taken for dates."""

SECONDS = 20.0
"""The longest that one text may take, of one processor's time."""


class Deidentifier:
    """Finds and masks what seems to name somebody.

    Args:
        rules: what is looked for; by default everything that is known.
        threshold: how sure a piece has to be.
        seconds: the longest that one text may take, of one processor's time.
    """

    def __init__(
        self, rules: Sequence[Rule] | None = None, *, threshold: float = THRESHOLD, seconds: float = SECONDS
    ) -> None:
        self._rules = all_rules() if rules is None else tuple(rules)
        self._threshold = threshold
        self._seconds = seconds

    def find(self, text: str) -> tuple[Finding, ...]:
        """What seems to name somebody in ``text``, in its order, without overlaps.

        Raises:
            RecordsError: where a rule errs or the time is over; without any of the text.
        """
        try:
            return findings_in(text, self._rules, threshold=self._threshold, seconds=self._seconds)
        except TimeoutError:
            why, hint = (
                f"it took more than {self._seconds:g} s of processor time",
                "lower the column's `maximum_characters`",
            )
        except Exception:  # noqa: BLE001 - a gate: what cannot be looked through does not pass, and says nothing
            why, hint = "a rule failed", ""
        message = f"a text of {len(text)} characters cannot be searched for what names somebody: {why}"
        raise RecordsError(message, hint=hint)

    def masked(self, text: str) -> tuple[str, Counter[str]]:
        """``text`` with each piece replaced by what it seems to be, and how many there were of each kind.

        Raises:
            RecordsError: as `find` does.
        """
        findings = self.find(text)
        return _replaced(text, findings), _count(findings)

    def masked_conversation(self, cell: str) -> tuple[str, Counter[str]]:
        """A cell of kind `messages` with every text in it masked; written anew, so that no key can stand twice.

        Raises:
            RecordsError: as `find` does, and where it is nested too deeply to be read.
        """
        counts: Counter[str] = Counter()
        try:
            try:
                conversation = json.loads(cell)
            except ValueError:
                return self.masked(cell)
            return json.dumps(self._masked_within(conversation, counts)), counts
        except RecursionError:  # what can be read may still be too deep to be gone through, or written
            raise RecordsError(f"a conversation of {len(cell)} characters is nested too deeply to be read") from None

    def masked_with_spans(self, text: str, spans: str) -> tuple[str, str, Counter[str]]:
        """``text`` masked, and the cell of kind `spans` beside it, moved to where its pieces now are.

        Raises:
            RecordsError: as `find` does, and where ``spans`` is not what such a cell should be.
        """
        marked = read_spans(spans)
        if marked is None:
            raise RecordsError(
                "a cell of spans is no list of objects with `start`, `end` and `label`",
                hint='such as [{"start": 0, "end": 4, "label": "drug"}]',
            )
        findings = self.find(text)
        masks = [_mask(finding) for finding in findings]
        nameless = [span for span in marked if not self.find(span.label)]
        return _replaced(text, findings), write_spans(moved(nameless, findings, masks, len(text))), _count(findings)

    def mask_array(self, texts: pa.Array, *, messages: bool = False) -> tuple[pa.Array, Counter[str], int]:
        """A column's cells, masked.

        Args:
            texts: strings, or nulls, which stay.
            messages: whether they are conversations.

        Returns:
            The cells, how many pieces of each kind there were, and in how many cells there were any.

        Raises:
            RecordsError: as `find` does.
        """
        mask = self.masked_conversation if messages else self.masked
        found = _each(texts, mask)
        counts = [count for _, count in found]
        return pa.array([cell for cell, _ in found], texts.type), sum(counts, Counter()), sum(map(bool, counts))

    def mask_spanned_array(self, texts: pa.Array, spans: pa.Array) -> tuple[pa.Array, pa.Array, Counter[str], int]:
        """A column's cells masked, as by `mask_array`, and those of its spans moved.

        Args:
            texts: strings or nulls.
            spans: of kind `spans`, for the text in the same row; those of no text become null.

        Raises:
            RecordsError: as `masked_with_spans` does.
        """
        rows = [self._masked_row(*row) for row in zip(texts.to_pylist(), spans.to_pylist(), strict=True)]
        counts = [count for _, _, count in rows]
        new = (pa.array([row[place] for row in rows], array.type) for place, array in ((0, texts), (1, spans)))
        return *new, sum(counts, Counter()), sum(map(bool, counts))

    def _masked_row(self, text: str | None, spans: str | None) -> tuple[str | None, str | None, Counter[str]]:
        if text is None:
            return None, None, Counter()
        if spans is not None:
            return self.masked_with_spans(text, spans)
        masked, counts = self.masked(text)
        return masked, None, counts

    def found_in(self, texts: pa.Array, *, messages: bool = False) -> tuple[Counter[str], int]:
        """As `mask_array`, without the cells."""
        _, counts, cells = self.mask_array(texts, messages=messages)
        return counts, cells

    def _masked_within(self, value: Any, counts: Counter[str]) -> Any:
        """``value`` from JSON, with its texts masked; numbers are texts here, since an identifier can be one."""
        if isinstance(value, list):
            return [self._masked_within(each, counts) for each in value]
        if isinstance(value, dict):
            return {self._masked_within(key, counts): self._masked_within(each, counts) for key, each in value.items()}
        if isinstance(value, bool) or value is None:
            return value
        masked, found = self.masked(str(value))
        counts.update(found)
        return masked if found else value


@cache
def all_rules() -> tuple[Rule, ...]:
    """Presidio's rules and our own, made once for a process."""
    from cloister.records.free_text.presidio_patterns import presidio_rules  # noqa: PLC0415 - takes a second to load

    return (*presidio_rules(), *own_rules())


def _each(texts: pa.Array, mask: Callable[[str], tuple[str, Counter[str]]]) -> list[tuple[str | None, Counter[str]]]:
    return [(None, Counter[str]()) if text is None else mask(text) for text in texts.to_pylist()]


def _replaced(text: str, findings: Sequence[Finding]) -> str:
    parts, at = [], 0
    for finding in findings:
        parts += [text[at : finding.start], _mask(finding)]
        at = finding.end
    return "".join([*parts, text[at:]])


def _mask(finding: Finding) -> str:
    return f"[{finding.entity}]"


def _count(findings: Sequence[Finding]) -> Counter[str]:
    return Counter(finding.entity for finding in findings)


__all__ = ["SECONDS", "THRESHOLD", "Deidentifier", "Finding", "all_rules"]
