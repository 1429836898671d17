# SPDX-License-Identifier: Apache-2.0
"""Words from outside and tables, as Markdown that shows them as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

# What Markdown (https://spec.commonmark.org/0.31.2/#backslash-escapes) would take for more than text.
_MARKUP = re.compile(r"([\\`*_\[\]|~#!])")


def plain(text: str) -> str:
    """``text`` as one line that Markdown shows as it is; sites and documents may have put anything into it."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return _MARKUP.sub(r"\\\1", escape(line, quote=False))


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A table; its cells are Markdown already."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
