# SPDX-License-Identifier: Apache-2.0
"""A text as patterns can read it, with the way back to where each of its characters stands.

A non-breaking space, a dash as word processors set it, a digit of another script or an invisible character inside would
else hide a number from every pattern. So would an accent that stands as a character of its own, behind the letter that
bears it, end a name for them; some systems write all accents so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from unicodedata import category, decimal, normalize

_LAST_LOOKED_AT = 0x1FFFF
"""The planes in which Unicode has digits, spaces and letters like ASCII's."""


@dataclass(frozen=True)
class PlainText:
    """A text in which what looks like ASCII is ASCII, and nothing invisible and no accent by itself is left.

    Attributes:
        text: the plain characters.
        places: index in the original of each of them; None where they are the same.
    """

    text: str
    places: tuple[int, ...] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where the piece from ``start`` to ``end``, which is not empty, stands in the original."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def plain(text: str) -> PlainText:
    """``text`` as patterns can read it."""
    if text.isascii():
        return PlainText(text)
    replaced = text.translate(_table())
    if _INVISIBLE not in replaced:
        return PlainText(replaced)
    places = tuple(index for index, character in enumerate(replaced) if character != _INVISIBLE)
    return PlainText(replaced.replace(_INVISIBLE, ""), places)


_INVISIBLE = "\ufff9"
"""Stands for every character of Unicode's category Cf, of which it is one, and every mark that joins another one."""


_BY_KIND = {"Cf": _INVISIBLE, "Mn": _INVISIBLE, "Me": _INVISIBLE, "Zs": " ", "Pd": "-"}
_SIGNS = {"\u2212": "-", "\u2044": "/", "\u2215": "/"}  # minus, and the strokes of fractions and divisions


@cache
def _table() -> dict[int, str]:
    found = ((point, _plain_character(chr(point))) for point in range(0x80, _LAST_LOOKED_AT + 1))
    return {point: character for point, character in found if character}


def _plain_character(character: str) -> str:
    """One character to put in its place; empty where it stays."""
    kind = category(character)
    if kind == "Nd":
        return str(decimal(character))
    if known := _SIGNS.get(character) or _BY_KIND.get(kind):
        return known
    if kind in ("Cn", "Co", "Cs", "Lo"):
        return ""
    form = normalize("NFKC", character)
    return form if len(form) == 1 and form.isascii() else ""
