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

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cloister.documents.mistakes import problems_of
from cloister.documents.source import Source
from cloister.documents.yaml_tree import YamlTree
from cloister.errors import InvalidDocumentsError, Problem
from cloister.files import read_regular

MAXIMUM_BYTES = 256 * 1024


class Model(BaseModel):
    """Base of every document's model: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
        text = read_regular(path, MAXIMUM_BYTES)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidDocumentsError([Problem(shown, 0, f"cannot be read: {reason}")]) from error
    return parse(text, model, name=shown)


def parse(text: bytes, model: type[T], *, name: str) -> Document[T]:
    """Read a document from its bytes; see `load`."""
    if len(text) > MAXIMUM_BYTES:
        hint = "a document holds decisions, not data; split it or move data out"
        raise InvalidDocumentsError([Problem(name, 0, f"is larger than {MAXIMUM_BYTES // 1024} KiB", hint)])
    tree = YamlTree(name)
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


def _validate(value: Any, model: type[T], source: Source) -> tuple[T | None, list[Problem]]:
    try:
        # JSON mode: strict about types, yet lists fill tuples and ISO text fills dates.
        return model.model_validate_json(json.dumps(value, allow_nan=True)), []
    except ValidationError as error:
        return None, problems_of(error, model, source)
