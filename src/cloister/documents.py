# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: a document either holds exactly what its model says, or every mistake in it is named with its line.

1. A file is UTF-8, at most 256 KiB, one YAML document, at most 32 levels deep.
2. No anchors, aliases or tags: a document cannot expand, refer to itself or name a type.
3. Scalars follow the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` is text, ``1:30`` is
   text, a date is text until its model reads it.
4. Unknown keys, duplicate keys, missing keys and wrong types are mistakes. Nothing is coerced.
5. An unresolved ``$VAR``, ``${VAR}`` or ``__PLACEHOLDER__`` is a mistake wherever it stands.
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cloister.errors import InvalidDocumentsError, Problem

MAXIMUM_BYTES = 256 * 1024
MAXIMUM_DEPTH = 32
MAXIMUM_PROBLEMS = 100

NEWER_LANGUAGE = "newer_language"
"""Type of the mistake of a document in a language that this version does not read; it is told alone, because the
unknown keys that come with it are no mistakes of whoever wrote it."""

_SHOWN_CHARACTERS = 80

KeyPath = tuple[str | int, ...]

_BRACED = re.compile(r"\$\{[^}]*\}")
_BARE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*|__[A-Z][A-Z0-9_]*__")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Model(BaseModel):
    """Base of every document's model: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Source:
    """Where each value of a document stands.

    Attributes:
        file: path as people know it.
        lines: 1-based line of each key path's value (for a mapping's entry, of its key).
    """

    file: str
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of ``path``, or of the nearest ancestor that the document holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def at(self, *path: str | int) -> str:
        """``file:line`` of the value at ``path``."""
        return f"{self.file}:{self.line(path)}"


T = TypeVar("T", bound=Model)


@dataclass(frozen=True)
class Document(Generic[T]):
    """A valid document.

    Attributes:
        value: what it says.
        source: where it says it.
        text: the file's bytes, for digests and for sending on unchanged.
    """

    value: T
    source: Source
    text: bytes


def load(path: Path, model: type[T], *, name: str | None = None) -> Document[T]:
    """Read the document at ``path``.

    Args:
        path: the YAML file.
        model: what it must hold.
        name: the path to show in messages; ``path`` itself where not given.

    Raises:
        InvalidDocumentsError: with every mistake found.
    """
    shown = name or str(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidDocumentsError([Problem(shown, 0, f"cannot be read: {reason}")]) from error
    return parse(text, model, name=shown)


def parse(text: bytes, model: type[T], *, name: str) -> Document[T]:
    """Read a document from its bytes; see `load`."""
    if len(text) > MAXIMUM_BYTES:
        hint = "a document holds decisions, not data; split it or move data out"
        raise InvalidDocumentsError([Problem(name, 0, f"is larger than {MAXIMUM_BYTES // 1024} KiB", hint)])
    tree = _Tree(name)
    value = tree.build(_decode(text, name))
    problems = tree.problems
    if value is not None or not problems:
        validated, more = _validate(value, model, Source(name, tree.lines))
        if validated is not None and not problems:
            return Document(validated, Source(name, tree.lines), text)
        problems = problems + more
    raise InvalidDocumentsError(problems)


def checked(value: Any, model: type[T], source: Source) -> T:
    """Plain values from elsewhere as ``model`` says; see `load` for what is told of mistakes, and how."""
    validated, problems = _validate(value, model, source)
    if validated is None:
        raise InvalidDocumentsError(problems)
    return validated


def _decode(text: bytes, name: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        hint = "save the file as UTF-8"
        raise InvalidDocumentsError([Problem(name, line, "is not UTF-8", hint)]) from error


class _Tree:
    """Builds plain values from YAML events, noting lines and mistakes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        self._events: Iterable[yaml.Event] = iter(())

    def build(self, text: str) -> Any:
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
            self._problem(mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}")
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
            self._problem(line, f"uses the YAML tag {_quoted(tag)}", "a document holds plain values only")
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
            key = str(self._node(event, (*path, f"\0{line}"), depth + 1)) if event else ""
            if not isinstance(event, yaml.ScalarEvent):
                self._problem(line, "has a key that is not a word")
            if isinstance(event, yaml.ScalarEvent):
                key = event.value
            if key in result:
                first = self.lines[(*path, key)]
                self._problem(line, f"duplicate key {_quoted(key)}", f"first given on line {first}")
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
            self._problem(line, f"{_quoted(found)} was never filled in", "documents are data: write the value itself")
        if not event.implicit[0]:  # quoted, or a block scalar: text
            return text
        return _plain_scalar(text)


def _unresolved(text: str) -> str:
    """The first placeholder in ``text``, or nothing."""
    # Behind the last brace the pattern cannot match, and would look from every `${` to the end before it gives up.
    found = _BRACED.search(text, 0, text.rfind("}") + 1) or _BARE.search(text)
    return found.group() if found else ""


def _quoted(text: str) -> str:
    """What a document says, in backticks, short enough for one line and with nothing that would break it."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return f"`{_printable(shown)}`"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


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


def _validate(value: Any, model: type[T], source: Source) -> tuple[T | None, list[Problem]]:
    try:
        # JSON mode: strict about types, yet lists fill tuples and ISO text fills dates.
        return model.model_validate_json(json.dumps(value, allow_nan=True)), []
    except ValidationError as error:
        found = [dict(item) for item in error.errors(include_url=False)]
        newer = [item for item in found if item["type"] == NEWER_LANGUAGE]
        return None, [_problem_of(item, model, source) for item in (newer or found)[:MAXIMUM_PROBLEMS]]


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "date_from_datetime_parsing": "a date such as 2027-01-31",
    "date_parsing": "a date such as 2027-01-31",
}


def _problem_of(item: dict[str, Any], model: type[BaseModel], source: Source) -> Problem:
    kind, message = str(item["type"]), str(item["msg"])
    path = _existing(tuple(item["loc"]), source)
    line = source.line(path)
    key = str(item["loc"][-1]) if item["loc"] else ""
    if kind == "missing":
        return Problem(source.file, line, f"missing key {_dotted((*path, key))}")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(key, _known_keys(model, tuple(item["loc"][:-1])), n=1, cutoff=0.5)
        return Problem(source.file, line, f"unknown key {_quoted(key)}", f"did you mean `{near[0]}`?" if near else "")
    where = _dotted(path)
    if kind in _EXPECTED:
        return Problem(source.file, line, f"{where} must be {_EXPECTED[kind]}, not {_kind_of(item.get('input'))}")
    context = item.get("ctx", {})
    if kind == "union_tag_not_found":
        return Problem(source.file, line, f"missing key {_dotted((*path, context['discriminator'].strip(chr(39))))}")
    if kind == "union_tag_invalid":
        known = context["expected_tags"].replace("'", "`")
        return Problem(source.file, line, f"{where} is of an unknown kind {_quoted(context['tag'])}", f"known: {known}")
    sentence = _printable(message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("String "))
    return Problem(source.file, line, f"{where} {sentence[:1].lower()}{sentence[1:]}" if path else sentence)


def _existing(path: KeyPath, source: Source) -> KeyPath:
    """Drop the parts that pydantic adds for unions and discriminators."""
    kept: KeyPath = ()
    for part in path:
        if (*kept, part) in source.lines:
            kept = (*kept, part)
    return kept


def _dotted(path: Iterable[str | int]) -> str:
    return _quoted(".".join(str(part) for part in path)) if path else "the document"


def _kind_of(value: Any) -> str:
    if value is None:
        return "empty"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "something else")


def _known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys allowed at ``path`` of ``model``, over all members of a union."""
    models = [model]
    for part in path:
        models = [inner for outer in models for inner in _models_under(outer, part)] or models
    return [field.alias or name for each in models for name, field in each.model_fields.items()]


def _models_under(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            return _models_in(field.annotation)
    return []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _models_in(argument)]
