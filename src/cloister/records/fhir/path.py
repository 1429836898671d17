# SPDX-License-Identifier: Apache-2.0
"""What a path finds in a FHIR resource; `cloister.silos.fhir_path` says what a path is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cloister.silos.fhir_path import Index, Name, Step, Where

Resource = dict[str, Any]
"""A resource, or a part of one, as JSON gives it."""


def values(steps: Iterable[Step], root: Any) -> list[Any]:
    """Everything that the path finds under ``root``, in order; nothing where a part of the way is missing."""
    found = [root]
    for step in steps:
        match step:
            case Name(name):
                found = _under(found, name)
            case Index(number):
                found = found[number : number + 1]
            case Where(names, text):
                found = [each for each in found if text in _texts(each, names)]
    return found


def _under(nodes: list[Any], name: str) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        value = node.get(name) if isinstance(node, dict) else None
        if isinstance(value, list):
            found += [each for each in value if each is not None]  # null keeps the place of an extension in FHIR's JSON
        elif value is not None:
            found.append(value)
    return found


def _texts(node: Any, names: tuple[str, ...]) -> list[str]:
    found = [node]
    for name in names:
        found = _under(found, name)
    return [text for each in found if (text := text_of(each)) is not None]


def text_of(value: Any) -> str | None:
    """A text, number or truth value as JSON writes it, a text without its quotes; None for anything else."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None
