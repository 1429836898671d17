# SPDX-License-Identifier: Apache-2.0
"""What a model finds wrong with a document, in words: which key, on which line, and what it must be instead."""

from __future__ import annotations

import difflib
import re
from typing import Any

from pydantic import BaseModel, ValidationError

from cloister.documents.example import example_of, models_in
from cloister.documents.patterns import words_of
from cloister.documents.several import SeveralMistakesError
from cloister.documents.source import KeyPath, Source, dotted, printable, quoted
from cloister.documents.yaml_tree import MAXIMUM_PROBLEMS
from cloister.errors import Problem

NEWER_LANGUAGE = "newer_language"
"""Type of the mistake of a document in a language that this version does not read; it is told alone, because the
unknown keys that come with it are no mistakes of whoever wrote it."""

_MOMENT = "a moment such as 2026-06-01T12:00:00Z"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NAMED = re.compile(r"`([\w.]+)(?:: [^`]*)?`(?: in `([\w.]+)`)?")
"""A key in a sentence: by itself, with a value as in `key: value`, or of another as in `key` in `other`."""

_NO_MAPPING = frozenset({"dict_type", "model_type"})

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
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
}


def problems_of(error: ValidationError, model: type[BaseModel], source: Source) -> list[Problem]:
    """Each mistake that ``model`` found in the document that ``source`` knows the lines of."""
    found = [dict(item) for item in error.errors(include_url=False)]
    # A default that follows from another value cannot be had where that one is a mistake, which is told by itself.
    found = [item for item in found if item["type"] != "default_factory_not_called"]
    found = [each for item in found for each in _apart(item)]
    newer = [item for item in found if item["type"] == NEWER_LANGUAGE]
    return [_problem_of(item, model, source) for item in (newer or found)[:MAXIMUM_PROBLEMS]]


def _apart(item: dict[str, Any]) -> list[dict[str, Any]]:
    """A validator tells of one mistake or of several."""
    error = item.get("ctx", {}).get("error")
    return [item | {"msg": said} for said in error.said] if isinstance(error, SeveralMistakesError) else [item]


def _problem_of(item: dict[str, Any], model: type[BaseModel], source: Source) -> Problem:
    kind = str(item["type"])
    path = _existing(tuple(item["loc"]), source)
    line = source.line(path)
    key = str(item["loc"][-1]) if item["loc"] else ""
    if kind == "missing":
        return Problem(source.file, line, f"missing key {dotted((*path, key))}")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(key, _known_keys(model, tuple(item["loc"][:-1])), n=1, cutoff=0.5)
        return Problem(source.file, line, f"unknown key {quoted(key)}", f"did you mean `{near[0]}`?" if near else "")
    if kind == "union_tag_not_found":
        tag = item["ctx"]["discriminator"].strip("'")
        return Problem(source.file, line, f"missing key {dotted((*path, tag))}")
    said, hint = _about_value(item, kind, dotted(path) if path else "")
    if kind in _NO_MAPPING:
        hint = example_of(_models_at(model, tuple(item["loc"])), key, item.get("input"))
    if not path or _speaks_of_a_key(said, path):
        line = source.line(_named(said, source, path))
    return Problem(source.file, line, said, hint)


def _speaks_of_a_key(said: str, path: KeyPath) -> bool:
    """Whether a sentence about the mapping at ``path`` begins with one of its keys, and not with the mapping's own."""
    return said.startswith("`") and not said.startswith(dotted(path))


def _named(said: str, source: Source, part: KeyPath = ()) -> KeyPath:
    """The first key that a sentence about a part of the document names and the document has; the part where none."""
    for key, outer in _NAMED.findall(said):
        names, above = tuple(key.split(".")), tuple(outer.split(".")) if outer else ()
        for path in ((*part, *names), (*above, *names), above):
            if path and path in source.lines:
                return path
    return part


def _about_value(item: dict[str, Any], kind: str, where: str) -> tuple[str, str]:
    """What is wrong with a value that is there, and how to mend it."""
    written, context, at = item.get("input"), item.get("ctx", {}), where or "the document"
    if kind.startswith("date_") and isinstance(written, str) and _DAY.fullmatch(written):
        return f"{at} is a day that there is not: {quoted(written)}", ""
    if kind == "string_pattern_mismatch":
        return f"{at} must be {words_of(context['pattern'])}", ""
    if kind in _EXPECTED:
        return f"{at} must be {_EXPECTED[kind]}, not {_kind_of(written)}", ""
    if kind == "union_tag_invalid":
        known = context["expected_tags"].replace("'", "`")
        return f"{at} is of an unknown kind {quoted(context['tag'])}", f"known: {known}"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    sentence = printable(message)
    if where and not sentence.startswith("`"):  # else it says by itself which key of those at hand is wrong
        sentence = f"{where} {sentence[:1].lower()}{sentence[1:]}"
    return sentence, ""


def _existing(path: KeyPath, source: Source) -> KeyPath:
    """Drop the parts that pydantic adds for unions and discriminators."""
    kept: KeyPath = ()
    for part in path:
        if (*kept, part) in source.lines:
            kept = (*kept, part)
    return kept


def _kind_of(value: Any) -> str:
    if value is None:
        return "empty"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "something else")


def _known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys allowed at ``path`` of ``model``, over all members of a union."""
    return [field.alias or name for each in _models_at(model, path) for name, field in each.model_fields.items()]


def _models_at(model: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    """What a mapping at ``path`` of ``model`` may be; the members of a union one by one."""
    models = [model]
    for part in path:
        models = [inner for outer in models for inner in _models_under(outer, part)] or models
    return models


def _models_under(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            return models_in(field.annotation)
    return []
