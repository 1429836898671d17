# SPDX-License-Identifier: Apache-2.0
"""Which records a job asks for: a dataset by name, and what it takes each column for."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from cloister.documents import KeyPath, Model
from cloister.jobs.tasks import ROLE_KINDS
from cloister.names import ColumnName, Line, Word


class Bins(Model):
    """Bins of equal width for a histogram; what lies outside is not counted.

    Attributes:
        low: lower edge of the first.
        high: upper edge of the last.
        count: how many.
    """

    low: float
    high: float
    count: int = Field(default=10, ge=2, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high <= self.low:
            raise ValueError("has a `high` that is not above its `low`")
        return self

    @property
    def edges(self) -> tuple[float, ...]:
        """Rising, one more than bins."""
        width = (self.high - self.low) / self.count
        return (*(self.low + number * width for number in range(self.count)), self.high)


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
        person: column that says whom a record is about; the view holds a pseudonym in its place, another for each seed,
            dataset and choice of columns.
        histograms: by feature that is a number, the bins to count its values in; for jobs of task `statistics`.
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
    person: ColumnName | None = None
    histograms: dict[ColumnName, Bins] = Field(default_factory=dict, max_length=1000)
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
        for column in self.histograms:
            if column not in self.features:
                raise ValueError(f"asks for a histogram of `{column}`, which is not among its `features`")
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
        """The keys by which columns are named, but for `person`, which every task may ask for."""
        return frozenset(role for role, _, _ in self.columns if role != "person")
