# SPDX-License-Identifier: Apache-2.0
"""The tables and columns of the OMOP CDM 5.4 that a cohort needs (https://ohdsi.github.io/CommonDataModel/cdm54.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from cloister.errors import RecordsError
from cloister.silos.omop import OmopConnector
from cloister.silos.omop_events import Domain, Look
from cloister.silos.omop_fields import OF_VALUES

VERSION = "OMOP CDM 5.4"
PERSON = "person"
OBSERVATION_PERIOD = "observation_period"
CONCEPT_ANCESTOR = "concept_ancestor"


class Cell(Enum):
    """What a column of the CDM holds."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    DATE = "a date"
    MOMENT = "a moment"


@dataclass(frozen=True)
class EventTable:
    """A table of events.

    Attributes:
        name: the table's name.
        concept: the column that says what happened.
        date: the column that says when.
        key: the primary key.
        moment: the column with the time of day; none where this module has no use for it.
        operator: the column that says whether a value is a bound, such as `< 5`; none where there is no such column.
    """

    name: str
    concept: str
    date: str
    key: str
    moment: str | None = None
    operator: str | None = None


EVENT_TABLES: dict[Domain, EventTable] = {
    Domain.CONDITION: EventTable(
        "condition_occurrence", "condition_concept_id", "condition_start_date", "condition_occurrence_id"
    ),
    Domain.DRUG: EventTable("drug_exposure", "drug_concept_id", "drug_exposure_start_date", "drug_exposure_id"),
    Domain.PROCEDURE: EventTable(
        "procedure_occurrence", "procedure_concept_id", "procedure_date", "procedure_occurrence_id"
    ),
    Domain.MEASUREMENT: EventTable(
        "measurement",
        "measurement_concept_id",
        "measurement_date",
        "measurement_id",
        "measurement_datetime",
        "operator_concept_id",
    ),
    Domain.OBSERVATION: EventTable(
        "observation", "observation_concept_id", "observation_date", "observation_id", "observation_datetime"
    ),
    Domain.VISIT: EventTable("visit_occurrence", "visit_concept_id", "visit_start_date", "visit_occurrence_id"),
    Domain.DEATH: EventTable("death", "cause_concept_id", "death_date", "person_id"),
}

_PERSON: dict[str, Cell] = {
    "person_id": Cell.WHOLE,
    "gender_concept_id": Cell.WHOLE,
    "year_of_birth": Cell.WHOLE,
    "month_of_birth": Cell.WHOLE,
    "day_of_birth": Cell.WHOLE,
    "birth_datetime": Cell.MOMENT,
}
_OBSERVATION_PERIOD: dict[str, Cell] = {
    "person_id": Cell.WHOLE,
    "observation_period_start_date": Cell.DATE,
    "observation_period_end_date": Cell.DATE,
}
_CONCEPT_ANCESTOR: dict[str, Cell] = {"ancestor_concept_id": Cell.WHOLE, "descendant_concept_id": Cell.WHOLE}


def value_columns(table: EventTable) -> dict[str, Cell]:
    """The columns of a table of events that its values take."""
    moment = {table.moment: Cell.MOMENT} if table.moment else {}
    operator = {table.operator: Cell.WHOLE} if table.operator else {}
    return {"value_as_number": Cell.NUMBER, "unit_concept_id": Cell.WHOLE, **operator, **moment, table.key: Cell.WHOLE}


def events_of(connector: OmopConnector) -> Iterator[Look]:
    """Everything that ``connector`` looks for."""
    for events in (connector.cohort.entry, *connector.cohort.without):
        yield events.look
    for definition in connector.definitions.values():
        if definition.look is not None:
            yield definition.look


def needed(connector: OmopConnector) -> dict[str, dict[str, Cell]]:
    """The tables that ``connector`` takes, with their columns and what those hold."""
    tables: dict[str, dict[str, Cell]] = {PERSON: _PERSON, OBSERVATION_PERIOD: _OBSERVATION_PERIOD}
    for events in events_of(connector):
        table = EVENT_TABLES[events.domain]
        columns = {"person_id": Cell.WHOLE, table.concept: Cell.WHOLE, table.date: Cell.DATE}
        tables[table.name] = {**tables.get(table.name, {}), **columns}
        if events.descendants:
            tables[CONCEPT_ANCESTOR] = _CONCEPT_ANCESTOR
    for definition in connector.definitions.values():
        if definition.look is not None and definition.take in OF_VALUES:
            table = EVENT_TABLES[definition.look.domain]
            tables[table.name] |= value_columns(table)
    return tables


def check_shape(shown: str, present: Mapping[str, Iterable[str]], wanted: Mapping[str, Iterable[str]]) -> None:
    """Check that every table of ``wanted`` is ``present`` with its columns.

    Args:
        shown: how the silo document names the source.
        present: names of the tables and of their columns, in lower case; tables that nobody wants may be left out.
        wanted: names of the tables and columns that are needed.

    Raises:
        RecordsError: naming what is missing.
    """
    hint = f"the source must have the tables of {VERSION}; `cdm_source` says of which version it is"
    missing = [table for table in wanted if table not in present]
    if missing:
        raise RecordsError(f"`{shown}` has no {_listed('table', missing)} of {VERSION}", hint=hint)
    for table, columns in wanted.items():
        lacking = [column for column in columns if column not in set(present[table])]
        if lacking:
            raise RecordsError(
                f"table `{table}` of `{shown}` has no {_listed('column', lacking)} of {VERSION}", hint=hint
            )


def table_clause(name: str, columns: Mapping[str, Cell], schema: str | None) -> sa.TableClause:
    """A table for statements, with the columns that are needed of it."""
    types: dict[Cell, TypeEngine[Any]] = {Cell.WHOLE: sa.BigInteger(), Cell.NUMBER: sa.Double()}
    return sa.table(name, *(sa.column(column, types.get(cell)) for column, cell in columns.items()), schema=schema)


def _listed(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} " + ", ".join(f"`{name}`" for name in names)
