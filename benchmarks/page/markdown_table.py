# SPDX-License-Identifier: Apache-2.0
"""Tables of a Markdown page: read as they stand there, and put between two marks."""

from __future__ import annotations

import re

Table = list[dict[str, str]]
"""Rows, each with its cells by the column's title, which may be empty."""


def table_under(page: str, heading: str, number: int = 1) -> Table:
    """A table under a heading of the second level.

    Args:
        page: Markdown.
        heading: as it stands there.
        number: which table of that section, from 1.

    Raises:
        ValueError: where there is none.
    """
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    tables = re.findall(r"(?:^\|.*\|\n)+", section[1] + "\n", re.MULTILINE) if section else []
    if len(tables) < number:
        raise ValueError(f"no table {number} under `{heading}`")
    return _rows(tables[number - 1])


def tables_with(page: str, *columns: str) -> dict[str, Table]:
    """Every table of the page that has all of ``columns``, by the title of its first column."""
    found = {}
    for text in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        rows = _rows(text)
        if rows and set(columns) <= set(rows[0]):
            found[next(iter(rows[0]))] = rows
    return found


def _rows(text: str) -> Table:
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.strip().splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def put_between(page: str, name: str, text: str) -> str:
    """Put ``text`` between the marks of ``name``: `<!-- NAME: … -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: where the page does not have both marks once.
    """
    marks = re.compile(rf"(<!-- {name}: [^>]* -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    found, count = marks.subn(lambda match: f"{match[1]}{text}\n{match[2]}", page)
    if count != 1:
        raise ValueError(f"the page has no place for `{name}`")
    return found
