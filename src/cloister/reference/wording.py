# SPDX-License-Identifier: Apache-2.0
"""How an invented record is worded: an opening, one reason that decides its class, and words that decide nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SHORTENED_SHARE = 0.35  # of a record's words that have a short form
_MISTYPED_SHARE = 0.25  # of records
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Wording:
    """The parts that one kind of record is put together from.

    Attributes:
        reasons: by class, the phrases that decide it.
        openings: by style; a style is how one site writes.
        distractors: phrases that occur in every class, many of them naming what another class is about.
        slots: by name, what a `{name}` in any phrase is replaced by.
        shortenings: short forms by word.
    """

    reasons: Mapping[str, tuple[str, ...]]
    openings: tuple[tuple[str, ...], ...]
    distractors: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]
    shortenings: Mapping[str, str]

    def write(self, label: str, style: int, draw: random.Random) -> str:
        """One record of class ``label`` in the given style."""
        parts = [draw.choice(self.reasons[label]), *draw.sample(self.distractors, draw.choice((0, 1, 1, 2)))]
        draw.shuffle(parts)
        text = f"{draw.choice(self.openings[style])} {self._joined(parts, style, draw)}"
        text = _SLOT.sub(lambda slot: draw.choice(self.slots[slot[1]]), text)
        if style != 1:
            text = self._shortened(text, draw)
        return _mistyped(text, draw) if draw.random() < _MISTYPED_SHARE else text

    def _joined(self, parts: list[str], style: int, draw: random.Random) -> str:
        if style == 1:
            return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)
        return draw.choice(("; ", ", ", ". ")).join(parts)

    def _shortened(self, text: str, draw: random.Random) -> str:
        for long, short in self.shortenings.items():
            if draw.random() < _SHORTENED_SHARE:
                text = re.sub(rf"\b{long}\b", short, text)
        return text


def _mistyped(text: str, draw: random.Random) -> str:
    """``text`` with one letter dropped, doubled or swapped with the next."""
    places = [place for place in range(1, len(text) - 1) if text[place].isalpha() and text[place + 1].isalpha()]
    place = draw.choice(places)
    here, following = text[place], text[place + 1]
    changed = draw.choice((following, here * 2 + following, following + here))
    return text[:place] + changed + text[place + 2 :]
