# SPDX-License-Identifier: Apache-2.0
"""What a silo document declares of one column of a dataset."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import Line


class ColumnKind(StrEnum):
    """What a column holds."""

    IDENTIFIER = "identifier"  # names the record or the person; never leaves the connector as it is
    TEXT = "text"
    CATEGORY = "category"
    NUMBER = "number"  # float64
    INTEGER = "integer"  # int64
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"  # a moment, UTC
    SPANS = "spans"  # JSON: marked pieces of a text, [{"start": 0, "end": 4, "label": "drug"}]
    MESSAGES = "messages"  # JSON: a conversation, [{"role": "user", "content": "…"}]
    IMAGE = "image"  # a picture or a volume


_WITH_RANGE = (ColumnKind.NUMBER, ColumnKind.INTEGER)
FEATURE_KINDS = frozenset({ColumnKind.NUMBER, ColumnKind.INTEGER, ColumnKind.BOOLEAN, ColumnKind.CATEGORY})
"""What a tabular network can be given."""


class Column(Model):
    """One column of a dataset.

    Attributes:
        kind: what it holds.
        values: the allowed values of a category, in the order of their class numbers.
        maximum_characters: longer text is cut at this length when the view is written.
        unit: of a number, as UCUM writes it (https://ucum.org), such as `mm[Hg]`; for people.
        minimum: the smallest number allowed.
        maximum: the largest number allowed.
        required: whether a row with nothing in it breaks the schema. What a job learns from or towards is required in
            any case, but for features.
    """

    kind: ColumnKind
    values: tuple[Line, ...] = ()
    maximum_characters: int = Field(default=20_000, ge=1, le=200_000)
    unit: Line | None = None
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False

    @model_validator(mode="after")
    def _categories_name_their_values(self) -> Self:
        if self.kind is ColumnKind.CATEGORY and len(set(self.values)) < max(2, len(self.values)):
            raise ValueError("needs two or more different `values`, because it is a category")
        if self.kind is not ColumnKind.CATEGORY and self.values:
            raise ValueError(f"may not list `values`, because it is of kind {self.kind.value}")
        return self

    @model_validator(mode="after")
    def _only_numbers_have_a_range(self) -> Self:
        if self.kind in _WITH_RANGE:
            if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
                raise ValueError("has a `maximum` below its `minimum`")
            return self
        for key in ("unit", "minimum", "maximum"):
            if getattr(self, key) is not None:
                raise ValueError(f"may not state `{key}`, because it is of kind {self.kind.value}")
        return self
