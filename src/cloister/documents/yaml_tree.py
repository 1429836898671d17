# SPDX-License-Identifier: Apache-2.0
"""Plain values from YAML, each with its line; anchors, aliases, tags, duplicate keys and placeholders are mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from cloister.documents.source import KeyPath, quoted
from cloister.errors import Problem

MAXIMUM_DEPTH = 32
MAXIMUM_PROBLEMS = 100

_BRACED = re.compile(r"\$\{[^}]*\}")
_BARE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*|__[A-Z][A-Z0-9_]*__")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class YamlTree:
    """Builds plain values from YAML events, noting lines and mistakes.

    Attributes:
        name: the document's path as people know it.
        lines: 1-based line by key path, as in `Source`.
        problems: the mistakes that were found.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        self._events: Iterable[yaml.Event] = iter(())

    def build(self, text: str) -> Any:
        """The plain values in ``text``; None also where a mistake ends the reading."""
        try:
            events = iter(yaml.parse(text, Loader=yaml.SafeLoader))
            self._events = events
            next(events)  # start of the stream
            first = next(events)
            if isinstance(first, yaml.StreamEndEvent):
                self._problem(1, "is empty")
                return None
            value = self._node(next(events), (), 0)
            next(events)  # end of the document
            extra = next(events)
            if not isinstance(extra, yaml.StreamEndEvent):
                self._problem(_line(extra), "holds more than one YAML document")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = error.problem or error.context or ""
            hint = "indent with spaces" if r"'\t'" in said else ""
            self._problem(mark.line + 1 if mark else 1, f"is not YAML: {said}", hint)
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self._problem(line, f"is not YAML: holds the character U+{int(error.character):04X}, which text may not")
            return None
        except (yaml.YAMLError, ValueError, OverflowError):  # PyYAML computes with escapes and versions unchecked
            self._problem(1, "is not YAML: holds an escape or a directive that means nothing")
            return None
        except _TooDeepError as error:
            self._problem(error.line, f"is nested deeper than {MAXIMUM_DEPTH} levels")
            return None
        return value

    def _problem(self, line: int, message: str, hint: str = "") -> None:
        if len(self.problems) < MAXIMUM_PROBLEMS:
            self.problems.append(Problem(self.name, line, message, hint))

    def _node(self, event: yaml.Event, path: KeyPath, depth: int) -> Any:
        line = _line(event)
        self.lines.setdefault(path, line)
        if depth > MAXIMUM_DEPTH:
            raise _TooDeepError(line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._problem(line, "uses a YAML anchor or alias", "write the value out; documents may not expand")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._problem(line, f"uses the YAML tag {quoted(tag)}", "a document holds plain values only")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line)
        return None

    def _mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = _line(event)
            key = f"\0{line}"
            self._node(event, (*path, key), depth + 1)
            if isinstance(event, yaml.ScalarEvent):
                key = event.value
            else:  # never spelled out: of mappings within mappings each level would double what is written
                self._problem(line, "has a key that is not a word")
            if key in result:
                first = self.lines[(*path, key)]
                self._problem(line, f"duplicate key {quoted(key)}", f"first given on line {first}")
            self.lines.setdefault((*path, key), line)
            value = self._node(next(iter(self._events)), (*path, key), depth + 1)
            result.setdefault(key, value)
        return result

    def _sequence(self, path: KeyPath, depth: int) -> list[Any]:
        result: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            result.append(self._node(event, (*path, len(result)), depth + 1))
        return result

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        text: str = event.value
        if _SURROGATE.search(text):
            self._problem(line, "holds half of a character", "an escape between `\\ud800` and `\\udfff` is no text")
            return ""
        if found := _unresolved(text):
            self._problem(line, f"{quoted(found)} was never filled in", "documents are data: write the value itself")
        if not event.implicit[0]:  # quoted, or a block scalar: text
            return text
        return _plain_scalar(text)


def _unresolved(text: str) -> str:
    """The first placeholder in ``text``, or nothing."""
    # Behind the last brace the pattern cannot match, and would look from every `${` to the end before it gives up.
    found = _BRACED.search(text, 0, text.rfind("}") + 1) or _BARE.search(text)
    return found.group() if found else ""


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _plain_scalar(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text) and len(text) <= 18:
        return int(text)
    if _NUMBER.fullmatch(text) and len(text) <= 32:
        return float(text)
    return text


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
