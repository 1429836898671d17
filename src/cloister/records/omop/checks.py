# SPDX-License-Identifier: Apache-2.0
"""What must hold of an OMOP database before a table made of it is believed: dates, one unit, a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from cloister.errors import RecordsError
from cloister.records.omop.days import DayNumber, OddNumber, OddWhole
from cloister.records.omop.tables import (
    CONCEPT_ANCESTOR,
    EVENT_TABLES,
    Cell,
    events_of,
    needed,
    table_clause,
)
from cloister.records.omop.totals import in_set, value_of
from cloister.silos.omop import OmopConnector
from cloister.silos.omop_fields import OF_VALUES

_ODD = {Cell.WHOLE: OddWhole, Cell.NUMBER: OddNumber}


class OmopChecks:
    """Questions to the database that ``connection`` leads to; each raises `RecordsError` where the answer is bad."""

    def __init__(self, connection: sa.Connection, connector: OmopConnector, shown: str, schema: str | None) -> None:
        self.connection = connection
        self.connector = connector
        self.shown = shown
        self.tables: Mapping[str, sa.TableClause] = {
            name: table_clause(name, cells, schema) for name, cells in needed(connector).items()
        }

    def descendants_are_known(self) -> None:
        """Every concept whose descendants are asked for stands in `concept_ancestor`, if only above itself."""
        wide = {concept for each in events_of(self.connector) if each.descendants for concept in each.concepts}
        if not wide:
            return
        ancestry = self.tables[CONCEPT_ANCESTOR].c
        for concept in sorted(wide):
            asked = sa.select(ancestry.ancestor_concept_id).where(ancestry.ancestor_concept_id == concept).limit(1)
            if self.connection.execute(asked).first() is None:
                hint = (
                    "load the vocabulary if the table is empty; only standard concepts have descendants;"
                    " without a vocabulary list each concept and leave out `descendants`"
                )
                raise RecordsError(
                    f"table `{CONCEPT_ANCESTOR}` of `{self.shown}` does not know concept {concept}, whose `descendants`"
                    " are asked for",
                    hint=hint,
                )

    def cells_can_be_read(self) -> None:
        """Ids and values are numbers, and what is looked for has a date."""
        for name, cells in needed(self.connector).items():
            columns = self.tables[name].c
            wrong: dict[tuple[str, str], sa.ColumnElement[bool]] = {}
            for column, cell in cells.items():
                if cell in _ODD:
                    # Also where columns have types: a decimal may have a fraction, or be NaN.
                    wrong[column, f"something that is not {cell.value}"] = _ODD[cell](columns[column])
                elif cell is Cell.DATE:
                    wrong[column, "no date"] = self._counts(name) & DayNumber(columns[column]).is_(None)
            self._none(name, wrong)

    def _counts(self, name: str) -> sa.ColumnElement[bool]:
        """Whether a record of table ``name`` is looked for at all."""
        tables = {domain: table for domain, table in EVENT_TABLES.items() if table.name == name}
        sets = [each for each in events_of(self.connector) if each.domain in tables]
        return sa.or_(
            *(in_set(self.tables[name].c[tables[each.domain].concept], each, self.tables) for each in sets),
            sa.false() if sets else sa.true(),
        )

    def values_are_in_one_unit(self, names: Iterable[str]) -> None:
        """The values of each column in ``names`` that does not say which unit counts."""
        for name in names:
            definition = self.connector.definitions[name]
            values = definition.look
            if values is None or definition.take not in OF_VALUES or values.unit is not None:
                continue
            table = EVENT_TABLES[values.domain]
            columns: Any = self.tables[table.name].c
            unit = sa.func.coalesce(columns.unit_concept_id, sa.literal_column("0"))
            asked = sa.select(sa.func.min(unit), sa.func.max(unit)).where(
                in_set(columns[table.concept], values, self.tables), value_of(columns, table).is_not(None)
            )
            least, most = self.connection.execute(asked).one()
            if least != most:
                raise RecordsError(
                    f"the values of `{name}` in table `{table.name}` of `{self.shown}` are in more than one unit",
                    hint="state as `unit` the concept id of the one that counts, 0 for none",
                )

    def _none(self, table: str, wrong: Mapping[tuple[str, str], sa.ColumnElement[bool]]) -> None:
        """No record of ``table`` may be ``wrong``; all that could be is asked in one reading of it."""
        if not wrong:
            return
        counts = [sa.func.count(sa.case((each, 1))) for each in wrong.values()]
        found = self.connection.execute(sa.select(*counts).select_from(self.tables[table])).one()
        for (column, what), count in zip(wrong, found, strict=True):
            if count:
                records = "1 record" if count == 1 else f"{count} records"
                raise RecordsError(
                    f"column `{column}` of table `{table}` of `{self.shown}` holds {what} in {records}",
                    hint="dates are written 2010-01-31 or 20100131, ids and values are stored as numbers",
                )
