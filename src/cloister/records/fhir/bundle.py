# SPDX-License-Identifier: Apache-2.0
"""A JSON bundle, entry by entry: of a file of any size no more than one entry is held at once.

The standard puts no order on a bundle's properties, so what says that it is a bundle may stand behind its entries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from cloister.records.fhir.json_text import DECODER, MAXIMUM_RESOURCE_CHARACTERS, NotFhirJsonError, too_deep, too_long

TYPES = frozenset({"collection", "transaction", "searchset", "batch"})
"""Bundles whose entries are records; a document, a message or a history is something else."""

_CHUNK = 1 << 20
_SPACE = " \t\n\r"


class NotABundleError(Exception):
    """A file that is no bundle of records; the message says why, and nothing of its content."""


def entries(read: Callable[[int], str]) -> Iterator[Any]:
    """The entries of the bundle, each as JSON gives it.

    Args:
        read: gives the next characters of the file, at most so many, and none at its end.

    Raises:
        NotABundleError: where the file is something else; this may turn out after the last entry.
        NotFhirJsonError: where what follows the last entry that was given is not JSON, or too long, or too deep.
    """
    text = _Text(read)
    if text.peek() != "{":
        raise NotABundleError("is no JSON object")
    seen: set[str] = set()
    for name in _names(text):
        if name in seen:
            raise NotABundleError("gives a property twice")
        seen.add(name)
        if name == "entry":
            yield from _list(text)
        else:
            _check(name, text.value())
    if text.peek():
        raise NotABundleError("goes on after the bundle's end")
    for name in ("resourceType", "type"):
        if name not in seen:
            raise NotABundleError(f"is no FHIR bundle: it has no `{name}`")


def _names(text: _Text) -> Iterator[str]:
    """The names in an object; whoever takes one takes its value next."""
    text.skip("{")
    if text.peek() != "}":
        while True:
            name = text.value()
            if not isinstance(name, str):
                raise NotFhirJsonError("is not JSON")
            text.skip(":")
            yield name
            if text.peek() != ",":
                break
            text.skip(",")
    text.skip("}")


def _check(name: str, value: Any) -> None:
    if name == "resourceType" and value != "Bundle":
        raise NotABundleError("is no FHIR bundle")
    if name == "type" and (not isinstance(value, str) or value not in TYPES):
        raise NotABundleError("is a bundle of a type other than " + ", ".join(sorted(TYPES)))


def _list(text: _Text) -> Iterator[Any]:
    text.skip("[")
    if text.peek() != "]":
        yield text.value()
        while text.peek() == ",":
            text.skip(",")
            yield text.value()
    text.skip("]")


class _Text:
    """The file from some point on, as much of it as is needed."""

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text = ""
        self._position = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._position < len(self._text):
                if (character := self._text[self._position]) not in _SPACE:
                    return character
                self._position += 1
            if not self._more(_CHUNK):
                return ""

    def skip(self, character: str) -> None:
        """Go on behind the next character, which must be this one."""
        if self.peek() != character:
            raise NotFhirJsonError("is cut off" if self._ended and not self._text else "is not JSON")
        self._position += 1

    def value(self) -> Any:
        """The next whole value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._position)
            except RecursionError:
                raise too_deep() from None
            except json.JSONDecodeError:
                # Either it is no JSON or there is more of it to come; which of the two shows only with the rest.
                held = len(self._text) - self._position
                if held > MAXIMUM_RESOURCE_CHARACTERS:
                    raise too_long() from None
                if not self._more(max(held, _CHUNK)):
                    raise NotFhirJsonError("is not JSON, or cut off") from None
            except ValueError:
                raise NotFhirJsonError("is not JSON") from None
            else:
                if end - self._position > MAXIMUM_RESOURCE_CHARACTERS:
                    raise too_long()
                # The digits of a number may go on.
                if end < len(self._text) or not self._more(_CHUNK):
                    self._position = end
                    return value

    def _more(self, size: int) -> bool:
        piece = "" if self._ended else self._read(size)
        self._ended = not piece
        self._text = self._text[self._position :] + piece
        self._position = 0
        return bool(piece)
