# SPDX-License-Identifier: Apache-2.0
"""A cohort of persons of an OMOP database (CDM 5.4), one row each, as a silo document declares it.

The index event is the first event of a kind that a person's records hold, which is day 0. The person belongs to the
cohort if that day lies in one of their observation periods, with enough days of it before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import ColumnName
from cloister.silos.columns import Column, ColumnKind
from cloister.silos.database import PostgresqlDatabase
from cloister.silos.omop_events import MAXIMUM_DAYS, Domain, Events, Window
from cloister.silos.omop_fields import Feature, Outcome
from cloister.silos.paths import PathText

MAXIMUM_FIELDS = 300
"""The most features, and the most outcomes, of one dataset."""


class OmopCsvSource(Model):
    """A CSV export: a folder, or a zip archive, with one file per table, named after it."""

    kind: Literal["csv-folder"]
    path: PathText


class OmopSqliteSource(Model):
    """An SQLite database with the CDM's tables."""

    kind: Literal["sqlite"]
    path: PathText


class OmopPostgresqlSource(PostgresqlDatabase):
    """A PostgreSQL database with the CDM's tables in one schema."""

    kind: Literal["postgresql"]


OmopSource = Annotated[OmopCsvSource | OmopSqliteSource | OmopPostgresqlSource, Field(discriminator="kind")]


class Cohort(Model):
    """Who has a row.

    Attributes:
        entry: whose first record is the index event.
        prior_days: days of the observation period that lie before the index event at least.
        follow_up_days: days of it that lie after the index event at least.
        without: who had one of these, by day 0, does not belong; such as who had the outcome before.
        known_outcomes: whether a person of whom an outcome is unknown, because observation ended before it could be
            seen, does not belong. Else there is nothing in that cell.
    """

    entry: Events
    prior_days: int = Field(default=0, ge=0, le=MAXIMUM_DAYS)
    follow_up_days: int = Field(default=0, ge=0, le=MAXIMUM_DAYS)
    without: tuple[Window, ...] = Field(default=(), max_length=50)
    known_outcomes: bool = True

    @model_validator(mode="after")
    def _is_known_on_day_0(self) -> Self:
        if self.entry.domain is Domain.DEATH:
            raise ValueError("begins with a death; nothing comes after")
        for window in self.without:
            if window.end > 0:
                raise ValueError(
                    f"is chosen by what happens on day {window.end}, after the index event; `without` ends on day 0"
                )
            if window.domain is Domain.DEATH:
                raise ValueError("leaves out who died before the index event, and nobody did")
        return self


class OmopConnector(Model):
    """A cohort of an OMOP database.

    Attributes:
        source: where the CDM's tables lie.
        cohort: who has a row.
        fields: the columns that look at day 0 and before, by name.
        outcomes: the columns that look at the days after, by name.
    """

    kind: Literal["omop"]
    source: OmopSource
    cohort: Cohort
    fields: dict[ColumnName, Feature] = Field(min_length=1, max_length=MAXIMUM_FIELDS)
    outcomes: dict[ColumnName, Outcome] = Field(default_factory=dict, max_length=MAXIMUM_FIELDS)

    @model_validator(mode="after")
    def _names_each_column_once(self) -> Self:
        for name in self.outcomes:
            if name in self.fields:
                raise ValueError(f"defines `{name}` under `fields` and under `outcomes`")
        for name, outcome in self.outcomes.items():
            of = outcome.event_of
            if of is not None and (of not in self.outcomes or self.outcomes[of].take != "time-to"):
                raise ValueError(f"defines `{name}` as the event of `{of}`, which is no outcome with `take: time-to`")
        return self

    @property
    def definitions(self) -> dict[str, Feature | Outcome]:
        """What each column holds, by name."""
        return {**self.fields, **self.outcomes}

    def problem_with(self, columns: Mapping[str, Column]) -> str | None:
        """What is wrong with the declaration of ``columns`` for what this makes; none where nothing is.

        A person's id that is declared a number would be handed to models as one.
        """
        for name, column in columns.items():
            if name not in self.definitions:
                return f"declares the column `{name}`, which its connector does not define"
            identifies = name in self.fields and self.fields[name].person == "id"
            if identifies and column.kind is not ColumnKind.IDENTIFIER:
                return f"declares `{name}` as {column.kind.value}; it holds person ids, so its kind must be identifier"
        return None
