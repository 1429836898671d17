# SPDX-License-Identifier: Apache-2.0
"""What to write where a word stands and a mapping belongs, as far as the word says which one was meant."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def example_of(models: Iterable[type[BaseModel]], key: str, written: Any) -> str:
    """A hint such as ``write `compression: {up: int4}` ``; empty where it is not known what was meant.

    Args:
        models: what the mapping may be.
        key: where it belongs.
        written: what stands there. It is repeated only where it is one of the mapping's own keys or values.
    """
    if not isinstance(written, str):
        return ""
    for model in models:
        for name, field in model.model_fields.items():
            if written == (field.alias or name):
                return f"write `{key}: {{{written}: {_content_of(field)}}}`"
            if written in _words_in(field.annotation):
                return f"write `{key}: {{{field.alias or name}: {written}}}`"
    return ""


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that ``annotation`` allows, the members of a union one by one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in models_in(argument)]


def _words_in(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [found for argument in typing.get_args(annotation) for found in _words_in(argument)]


def _content_of(field: FieldInfo) -> str:
    """The least that may stand there: of a mapping what has to be given, of a number with a least value that one."""
    if models := models_in(field.annotation):
        needed = {name: each for name, each in models[0].model_fields.items() if each.is_required()}
        return f"{{{', '.join(f'{each.alias or name}: {_content_of(each)}' for name, each in needed.items())}}}"
    return next((str(each.ge) for each in field.metadata if getattr(each, "ge", None) is not None), "…")
