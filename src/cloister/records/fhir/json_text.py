# SPDX-License-Identifier: Apache-2.0
"""JSON as FHIR has it: no property twice in one object, no number that is none (https://hl7.org/fhir/R4/json.html)."""

from __future__ import annotations

import json
from typing import Any

MAXIMUM_RESOURCE_CHARACTERS = 16 << 20
"""The longest resource, and so the longest line: what is read at once stays bounded."""

MAXIMUM_DEPTH = 48
"""Levels of objects and lists in a resource. Those of the standard's examples and of Synthea stay below 20."""


class NotFhirJsonError(Exception):
    """A piece of text that cannot be taken as a resource; the message says why, and nothing of it."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotFhirJsonError("gives a property twice in one object")
    return found


def _no_constant(text: str) -> Any:
    del text
    raise NotFhirJsonError("holds a number that JSON does not know")


DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def read_json(text: str) -> Any:
    """The value of a whole text.

    Raises:
        NotFhirJsonError: where it is not JSON, or not as FHIR has it.
    """
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise too_deep() from None
    except ValueError:  # also for a number of more digits than Python reads
        raise NotFhirJsonError("is not JSON") from None


def check_depth(value: Any) -> None:
    """Check that ``value`` is not nested deeper than `MAXIMUM_DEPTH`; without recursion, as that is what it guards.

    Raises:
        NotFhirJsonError: where it is.
    """
    level = [value]
    for _ in range(MAXIMUM_DEPTH + 1):
        level = [
            inner
            for node in level
            for inner in (node.values() if isinstance(node, dict) else node)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise too_deep()


def too_deep() -> NotFhirJsonError:
    """The refusal of what is nested too deeply."""
    return NotFhirJsonError(f"is nested deeper than {MAXIMUM_DEPTH} levels")


def too_long() -> NotFhirJsonError:
    """The refusal of what is longer than any resource, or has no end."""
    return NotFhirJsonError(f"is longer than {MAXIMUM_RESOURCE_CHARACTERS >> 20} Mi characters, or is not JSON")
