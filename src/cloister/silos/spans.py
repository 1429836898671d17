# SPDX-License-Identifier: Apache-2.0
"""What a cell of kind `spans` holds: marked pieces of a text, `[{"start": 0, "end": 7, "label": "drug"}]`.

Places are counted in Unicode's code points from 0, as Python counts them; `end` is the first behind. Pieces may
touch, and may not overlap. Further keys of a piece are let be: exports of annotation tools have them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from cloister.errors import RecordsError


@dataclass(frozen=True, order=True)
class Span:
    """One marked piece of a text.

    Attributes:
        start: place of its first character.
        end: place behind its last one.
        label: what it is.
    """

    start: int
    end: int
    label: str


def spans_of(cell: str, *, length: int | None = None, labels: Collection[str] | None = None) -> tuple[Span, ...]:
    """The pieces that ``cell`` marks, from the first to the last.

    Args:
        cell: JSON.
        length: characters of the text; None where it is not at hand.
        labels: what a piece may be; None where that is not yet known.

    Raises:
        RecordsError: where it is not that. The message says what is wrong with the cell, and holds none of it.
    """
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        raise RecordsError("is not JSON") from None
    if not isinstance(value, list):
        raise RecordsError("is no list of marked pieces")
    spans = sorted(_span(piece) for piece in value)
    for span in spans:
        if span.start < 0 or span.start >= span.end or (length is not None and span.end > length):
            raise RecordsError("marks a piece that does not lie in the text")
        if labels is not None and span.label not in labels:
            raise RecordsError("marks a piece with a label that is not among the declared ones")
    if any(later.start < span.end for span, later in itertools.pairwise(spans)):
        raise RecordsError("marks pieces that overlap")
    return tuple(spans)


def _span(piece: Any) -> Span:
    if isinstance(piece, dict):
        start, end, label = (piece.get(key) for key in ("start", "end", "label"))
        # A truth value would pass as a number otherwise.
        if type(start) is int and type(end) is int and isinstance(label, str):
            return Span(start, end, label)
    raise RecordsError("marks a piece without a `start`, `end` and `label`")
