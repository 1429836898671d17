# SPDX-License-Identifier: Apache-2.0
"""What a FHIR resource has to say, as the text of one cell: its number, code, words, document or narrative."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from cloister.records.fhir.path import Resource, text_of, values
from cloister.silos.fhir_path import parse_path


class UnusableError(Exception):
    """A value that is there and cannot be used, such as a quantity in another unit."""


def number_of(node: Resource, unit: str | None) -> str | None:
    """The value as a number; None where there is none, or only a bound of one, such as `< 5`.

    Raises:
        UnusableError: where it is in another unit than ``unit``.
    """
    whole = node.get("valueInteger")
    if whole is not None:
        if unit is not None:
            raise UnusableError
        return text_of(whole)
    quantity = node.get("valueQuantity")
    if not isinstance(quantity, dict) or quantity.get("value") is None or quantity.get("comparator") is not None:
        return None
    if unit is not None and unit != (quantity.get("code") or quantity.get("unit")):
        raise UnusableError
    return text_of(quantity["value"])


def unit_of(node: Resource) -> str:
    """What the value as a number is measured in: the unit's code, else its name; empty where neither is stated."""
    quantity = node.get("valueQuantity")
    return str(quantity.get("code") or quantity.get("unit") or "") if isinstance(quantity, dict) else ""


def code_of(node: Resource) -> str | None:
    """The first code of the value, without its system."""
    return next((text_of(code) for code in values(_CODE, node)), None)


def words_of(node: Resource) -> str | None:
    """The value in words: a text, the text of a concept, or the display of its first code."""
    return next((text_of(words) for steps in _WORDS for words in values(steps, node)), None)


def document_of(node: Resource) -> str | None:
    """The text of the first attachment that holds any: plain text, or HTML without its marks; else the conclusion.

    Attachments that only say where their text lies are not followed.

    Raises:
        UnusableError: where the bytes are not in the encoding that they should be in.
    """
    for steps in _ATTACHMENTS:
        for attachment in values(steps, node):
            text = _attached(attachment) if isinstance(attachment, dict) else None
            if text is not None:
                return text
    return text_of(node.get("conclusion"))


def narrative_of(node: Resource) -> str | None:
    """The text that a resource carries for people, without its marks."""
    return next((_without_marks(div) for div in values(_NARRATIVE, node) if isinstance(div, str)), None)


OTHERS: dict[str, Callable[[Resource], str | None]] = {
    "code": code_of,
    "words": words_of,
    "document": document_of,
    "narrative": narrative_of,
}
"""What can be asked for under `value`, but for `number`."""

_CODE = parse_path("valueCodeableConcept.coding.code")
_WORDS = tuple(map(parse_path, ("valueString", "valueCodeableConcept.text", "valueCodeableConcept.coding.display")))
_ATTACHMENTS = tuple(map(parse_path, ("content.attachment", "presentedForm", "contentAttachment")))
_NARRATIVE = parse_path("text.div")
_CHARSETS = {"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "windows-1252": "cp1252"}


def _attached(attachment: Resource) -> str | None:
    data, kind = attachment.get("data"), attachment.get("contentType")
    if not isinstance(data, str) or not isinstance(kind, str):
        return None
    media, *parameters = (part.strip().lower() for part in kind.split(";"))
    if media not in ("text/plain", "text/html", "application/xhtml+xml"):
        return None
    given = dict(part.partition("=")[::2] for part in parameters).get("charset", "utf-8").strip('"')
    try:
        text = base64.b64decode("".join(data.split()), validate=True).decode(_CHARSETS[given])
    except (KeyError, binascii.Error, UnicodeDecodeError):
        raise UnusableError from None
    return text if media == "text/plain" else _without_marks(text)


class _Text(HTMLParser):
    """Collects what a browser would show."""

    _HIDDEN = frozenset({"script", "style", "head"})
    _BREAKS = frozenset({"br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - the library's signature
        self._hidden += tag in self._HIDDEN
        if tag in self._BREAKS:
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self._HIDDEN and self._hidden > 0
        if tag in self._BREAKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def _without_marks(marked: str) -> str:
    parser = _Text()
    parser.feed(marked)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return "\n".join(line for line in lines if line)
