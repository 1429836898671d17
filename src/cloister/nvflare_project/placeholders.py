# SPDX-License-Identifier: Apache-2.0
"""What a template left to be filled in, and nobody did: `{~~x~~}`, `<x>`, `{{ x }}`, `{% x %}`, `${X}`, `$X`, `__X__`.

A placeholder that is taken for a name would be certified as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cloister.documents.source import Source, quoted
from cloister.errors import Problem

HINT = "fill it in, in the file or with the program that makes the file"

# In braces and unquoted these are no YAML, so they are looked for in the text before it is taken apart.
_BRACED = re.compile(r"\{~~[^\n}]*\}|\{\{[^\n]*?\}\}|\{%[^\n]*?%\}")
_ANGLED = re.compile(r"<[^<>\n]+>")
_COMMENT = re.compile(r"(^|\s)#.*$")


def in_text(text: str, name: str) -> list[Problem]:
    """One mistake for each line of the file ``name`` with a placeholder in braces; comments are free to hold them."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := _BRACED.search(_COMMENT.sub("", line)):
            found.append(_problem(name, number, match.group()))
    return found


def in_values(tree: Any, source: Source) -> list[Problem]:
    """One mistake for each value that holds a placeholder."""
    return [
        _problem(source.file, source.line(path), match.group())
        for path, text in _texts(tree, ())
        if (match := _BRACED.search(text) or _ANGLED.search(text))
    ]


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, key), key
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _problem(file: str, line: int, found: str) -> Problem:
    return Problem(file, line, f"{quoted(found)} was never filled in", HINT)
