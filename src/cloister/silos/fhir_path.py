# SPDX-License-Identifier: Apache-2.0
"""A way into a FHIR resource, as data: the small part of FHIRPath that only looks (http://hl7.org/fhirpath/N1/).

    address[0].city
    name.where(use = 'official').family.first()
    extension('http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex').valueCode

1. A path begins below the resource. Names are those of FHIR's JSON, so `valueQuantity` and not `value`.
2. A name goes into every one of what was found so far, and lists are taken apart, so a path may find several values.
3. `[n]` keeps the one with that number, from 0, of all that was found; `first()` is `[0]`.
4. `where(path = 'text')` keeps those under which that text is found; `extension('url')` is
   `extension.where(url = 'url')`.
5. There is nothing else: no operator, no other function, no variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, StringConstraints


@dataclass(frozen=True)
class Name:
    """The element of that name."""

    name: str


@dataclass(frozen=True)
class Index:
    """The one with that number, from 0, of all that was found."""

    number: int


@dataclass(frozen=True)
class Where:
    """Those under which ``names``, one below the other, lead to ``text``."""

    names: tuple[str, ...]
    text: str


Step = Name | Index | Where

_NAMES = r"[a-z][A-Za-z0-9]{0,63}"
_STEP = re.compile(
    rf"""(?: where\(\s*(?P<names>{_NAMES}(?:\.{_NAMES}){{0,7}})\s*=\s*'(?P<text>[^'\\]*)'\s*\)
    | extension\('(?P<url>[^'\\]*)'\)
    | (?P<first>first\(\))
    | (?P<name>{_NAMES})(?![A-Za-z0-9(]) )
    (?:\[(?P<number>[0-9]{{1,4}})\])?""",
    re.VERBOSE,
)


@lru_cache(maxsize=4096)
def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path.

    Raises:
        ValueError: where ``text`` is no path, with what is wrong and at which character.
    """
    steps: list[Step] = []
    position = 0
    while True:
        found = _STEP.match(text, position)
        if found is None or (not steps and found["name"] is None and found["url"] is None):
            raise ValueError(f"is no path into a resource, from character {position + 1} on, such as `name[0].family`")
        steps += _steps(found)
        position = found.end()
        if position == len(text):
            return tuple(steps)
        if text[position] != ".":
            raise ValueError(f"is no path into a resource, from character {position + 1} on, such as `name[0].family`")
        position += 1


def _steps(found: re.Match[str]) -> list[Step]:
    steps: list[Step]
    if found["names"] is not None:
        steps = [Where(tuple(found["names"].split(".")), found["text"])]
    elif found["url"] is not None:
        steps = [Name("extension"), Where(("url",), found["url"])]
    else:
        steps = [Index(0) if found["first"] else Name(found["name"])]
    return steps if found["number"] is None else [*steps, Index(int(found["number"]))]


def _is_path(text: str) -> str:
    parse_path(text)
    return text


FhirPathText = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_is_path)]
"""A path as a document writes it."""
