# SPDX-License-Identifier: Apache-2.0
"""Which records a job asks for: a dataset by name, and what it takes each column for."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from cloister.documents import KeyPath, Model
from cloister.jobs.tasks import ROLE_KINDS
from cloister.names import ColumnName, Line, Word


class DatasetRef(Model):
    """The records asked for. Which of the keys a job gives follows from its task.

    Attributes:
        name: what sites call the dataset in their silo documents.
        text: column with the text.
        label: column with the class.
        entities: column with the marked pieces of the text.
        prompt: column with what the model is given.
        completion: column with what it is to answer.
        messages: column with a conversation; the model learns the assistant's part.
        features: columns that the network is given.
        target: column with the number to predict.
        time: column with the time to the event, or to the last that is known.
        event: column that says whether the event came.
        image: column with the picture or volume.
        mask: column with the class of each of its voxels, by number.
        labels: the classes, in the order of their numbers; every site must list the same. Of masks the first is the
            background; of entities they are the kinds of piece.
        validation_share: share of each site's records kept from training for its own measurements; not so
            small that one could know which records those are.
    """

    name: Word
    text: ColumnName | None = None
    label: ColumnName | None = None
    entities: ColumnName | None = None
    prompt: ColumnName | None = None
    completion: ColumnName | None = None
    messages: ColumnName | None = None
    features: tuple[ColumnName, ...] = Field(default=(), max_length=1000)
    target: ColumnName | None = None
    time: ColumnName | None = None
    event: ColumnName | None = None
    image: ColumnName | None = None
    mask: ColumnName | None = None
    labels: tuple[Line, ...] = Field(default=(), max_length=1000)
    validation_share: Annotated[float, Field(ge=0.05, lt=0.9)] = 0.2

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("lists a label twice in `labels`")
        seen: dict[str, str] = {}
        for role, column, _ in self.columns:
            if column in seen:
                if {role, seen[column]} == {"features"}:
                    raise ValueError(f"lists `{column}` twice in `features`")
                raise ValueError(f"names one column as both `{seen[column]}` and `{role}`")
            seen[column] = role
        return self

    @property
    def columns(self) -> tuple[tuple[str, str, KeyPath], ...]:
        """Every column that is asked for: what for, its name, and the key path inside the document's `dataset`."""
        found: list[tuple[str, str, KeyPath]] = []
        for role in ROLE_KINDS:
            said = getattr(self, role)
            if role == "features":
                found += [(role, name, (role, index)) for index, name in enumerate(said)]
            elif said is not None:
                found.append((role, said, (role,)))
        return tuple(found)

    @property
    def roles(self) -> frozenset[str]:
        """The keys by which columns are named."""
        return frozenset(role for role, _, _ in self.columns)
