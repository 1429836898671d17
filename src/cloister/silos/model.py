# SPDX-License-Identifier: Apache-2.0
"""The document `silos/<site>.yaml`: where a site's records and base models lie, and what a job may use up.

Paths are relative to the federation's folder, or absolute. They are read at the site only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cloister.documents import Model
from cloister.names import ColumnName, Line, SiteName, Word

PathText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ColumnKind(StrEnum):
    """What a column holds."""

    IDENTIFIER = "identifier"  # names the record or the person; never leaves the connector
    TEXT = "text"
    CATEGORY = "category"


class Column(Model):
    """One column of a dataset.

    Attributes:
        kind: what it holds.
        values: the allowed values of a category, in the order of their class numbers.
        maximum_characters: longer text is cut at this length when the view is written.
    """

    kind: ColumnKind
    values: tuple[Line, ...] = ()
    maximum_characters: int = Field(default=20_000, ge=1, le=200_000)

    @model_validator(mode="after")
    def _categories_name_their_values(self) -> Self:
        if self.kind is ColumnKind.CATEGORY and len(set(self.values)) < max(2, len(self.values)):
            raise ValueError("needs two or more different `values`, because it is a category")
        if self.kind is not ColumnKind.CATEGORY and self.values:
            raise ValueError(f"may not list `values`, because it is of kind {self.kind.value}")
        return self


class SqliteConnector(Model):
    """A table of an SQLite database."""

    kind: Literal["sqlite"]
    path: PathText
    table: ColumnName


class ParquetConnector(Model):
    """A Parquet file."""

    kind: Literal["parquet"]
    path: PathText


class CsvConnector(Model):
    """A CSV file, UTF-8, with a header line (RFC 4180)."""

    kind: Literal["csv"]
    path: PathText


Connector = Annotated[SqliteConnector | ParquetConnector | CsvConnector, Field(discriminator="kind")]


class Dataset(Model):
    """Records that a job may ask for by name.

    Attributes:
        connector: where they lie.
        columns: every column that may be spoken of; others do not exist for Cloister.
        maximum_rejected_share: above this share of rows that break the schema the dataset is refused, 0 to 1.
    """

    connector: Connector
    columns: dict[ColumnName, Column] = Field(min_length=1)
    maximum_rejected_share: float = Field(default=0.05, ge=0, le=1)


class BaseModelPlace(Model):
    """A folder with a base model's safetensors, configuration and tokenizer."""

    path: PathText


class Capacity(Model):
    """The most that one job's trainer may use here.

    Attributes:
        memory_gib: resident memory of all its processes together, GiB.
        processes: processes and threads of the sandbox that may exist at once.
        threads: CPU threads that the trainer uses.
        round_seconds: a trainer that takes longer for one round is stopped.
    """

    memory_gib: float = Field(default=8.0, gt=0, le=4096)
    processes: int = Field(default=128, ge=8, le=4096)
    threads: int = Field(default=2, ge=1, le=512)
    round_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)


class Silo(Model):
    """The whole document."""

    site: SiteName
    organisation: Word
    base_models: dict[Word, BaseModelPlace] = Field(default_factory=dict)
    datasets: dict[Word, Dataset] = Field(min_length=1)
    capacity: Capacity = Capacity()
