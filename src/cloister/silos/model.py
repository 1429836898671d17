# SPDX-License-Identifier: Apache-2.0
"""The document `silos/<site>.yaml`: where a site's records and base models lie, and what a job may use up.

Paths are relative to the federation's folder, or absolute. They are read at the site only.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import ColumnName, Line, SiteName, Word
from cloister.silos.columns import Column, ColumnKind
from cloister.silos.connectors import Connector
from cloister.silos.fhir import FhirConnector
from cloister.silos.omop import OmopConnector
from cloister.silos.paths import PathText


class Dataset(Model):
    """Records that a job may ask for by name.

    Attributes:
        connector: where they lie.
        columns: every column that may be spoken of; others do not exist for Cloister.
        person: the column, of kind identifier, that says whom a record is about. All records of one person fall on one
            side of the split. Where none is declared each record counts as a person of its own.
        label: the column that jobs may learn to predict, and no other; any column where not given.
        missing: words that stand for nothing, such as `?` or `NA`, in text cells of every column but free text.
        maximum_rejected_share: above this share of rows that break the schema the dataset is refused, 0 to 1.
    """

    connector: Connector
    columns: dict[ColumnName, Column] = Field(min_length=1)
    person: ColumnName | None = None
    label: ColumnName | None = None
    missing: tuple[Line, ...] = Field(default=(), max_length=20)
    maximum_rejected_share: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _names_its_own_columns(self) -> Self:
        for key, name in (("person", self.person), ("label", self.label)):
            if name is not None and name not in self.columns:
                raise ValueError(f"names `{name}` as its `{key}` and declares no such column")
        if self.person is not None and self.columns[self.person].kind is not ColumnKind.IDENTIFIER:
            raise ValueError(f"names `{self.person}` as its `person`, and that column is not of kind identifier")
        if self.label is not None and self.columns[self.label].kind is ColumnKind.IDENTIFIER:
            raise ValueError(f"names `{self.label}` as its `label`, and that column is an identifier")
        return self

    @model_validator(mode="after")
    def _makes_its_own_columns(self) -> Self:
        if isinstance(self.connector, FhirConnector):
            for name in self.connector.fields:
                if name not in self.columns:
                    raise ValueError(f"has a field `{name}` and declares no such column")
            for name in self.columns:
                if name not in self.connector.fields:
                    raise ValueError(f"declares column `{name}` and has no field that says what it is made from")
        if isinstance(self.connector, OmopConnector) and (problem := self.connector.problem_with(self.columns)):
            raise ValueError(problem)
        return self

    @property
    def foreseen(self) -> frozenset[str]:
        """Columns that look past the moment at which a model would be asked; none may be given to one."""
        return frozenset(self.connector.outcomes) if isinstance(self.connector, OmopConnector) else frozenset()


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
