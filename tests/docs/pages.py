# SPDX-License-Identifier: Apache-2.0
"""The project's Markdown pages, and what stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what stands in the line before it."""

    language: str
    text: str
    before: str


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [
        Block(match[1], match[2], text[: match.start()].rstrip("\n").rsplit("\n", 1)[-1])
        for match in _BLOCK.finditer(text)
    ]


def shell_lines(text: str) -> list[str]:
    """Every line of every ```sh block."""
    return [
        line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines() if line.strip()
    ]


def anchors(text: str) -> set[str]:
    """What headings can be linked by, as GitHub makes it of them."""
    prose = _BLOCK.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")
        for heading in _HEADING.findall(prose)
    }


def links(text: str) -> list[str]:
    """Targets of the links that lead somewhere in this project."""
    return [link for link in _LINK.findall(_BLOCK.sub("", text)) if not re.match(r"[a-z]+:", link)]


def sections(text: str, level: int) -> dict[str, str]:
    """The text under each heading of one level, up to the next heading of that level or above."""
    mark = "#" * level
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.MULTILINE)
    return {
        title: body
        for mark_of, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        if mark_of == mark
    }
