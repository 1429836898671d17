# SPDX-License-Identifier: Apache-2.0
"""Where each value of a document stands, and how a document's own words are quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Source:
    """Where each value of a document stands.

    Attributes:
        file: path as people know it.
        lines: 1-based line of each key path's value (for a mapping's entry, of its key).
    """

    file: str
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of ``path``, or of the nearest ancestor that the document holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def at(self, *path: str | int) -> str:
        """``file:line`` of the value at ``path``."""
        return f"{self.file}:{self.line(path)}"


def quoted(text: str) -> str:
    """What a document says, in backticks, short enough for one line and with nothing that would break it."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return f"`{printable(shown)}`"


def printable(text: str) -> str:
    """``text`` without what would break a line or turn text around."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def dotted(path: Iterable[str | int]) -> str:
    """A key path as people write it; of a list's entries the line tells which one is meant."""
    parts = tuple(path)
    if not parts:
        return "the document"
    keys = quoted(".".join(part for part in parts if isinstance(part, str)))
    return f"an entry of {keys}" if isinstance(parts[-1], int) else keys
