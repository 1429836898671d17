# SPDX-License-Identifier: Apache-2.0
"""A CDM in one schema of a PostgreSQL database."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cloister.errors import RecordsError
from cloister.records.omop.source import OmopSource, Reading, Tables
from cloister.records.omop.tables import Cell
from cloister.records.sql.postgresql_server import PostgresqlServer
from cloister.silos.omop import OmopConnector, OmopPostgresqlSource

_TYPES: dict[Cell, tuple[type[sa.types.TypeEngine[Any]], ...]] = {
    Cell.WHOLE: (sa.Integer, sa.Numeric),  # a numeric without a fraction is what some exports make of an integer
    Cell.NUMBER: (sa.Integer, sa.Numeric, sa.Float),
    Cell.DATE: (sa.Date, sa.DateTime),
    Cell.MOMENT: (sa.Date, sa.DateTime),
}


class OmopPostgresql(OmopSource):
    """The database that ``place`` names; paths in it are relative to ``root``."""

    def __init__(self, place: OmopPostgresqlSource, root: Path) -> None:
        super().__init__(f"{place.database}.{place.schema_}", place.schema_)
        self._server = PostgresqlServer(place, self.shown, root=root)

    def columns(self, tables: Tables) -> Mapping[str, tuple[str, ...]]:
        """See `OmopSource.columns`; that they are of types that can be counted with is checked too."""
        with self._server.opened() as opened, opened.watch.waiting():
            types = {table: self._types(opened.connection, table) for table in tables}
        for table, columns in tables.items():
            for column, cell in columns.items():
                kind = types[table].get(column)
                if kind is not None and not isinstance(kind, _TYPES[cell]):
                    raise RecordsError(
                        f"column `{column}` of table `{table}` of `{self.shown}` is of type {str(kind).lower()},"
                        f" where {cell.value} belongs",
                        hint="make a view of the table that casts it, and name that view's schema",
                    )
        return {table: tuple(each) for table, each in types.items() if each}

    @contextmanager
    def opened(self, connector: OmopConnector) -> Iterator[Reading]:
        """See `OmopSource.opened`."""
        del connector
        with self._server.opened() as opened, opened.watch.waiting():
            sa.event.listen(opened.connection, "after_cursor_execute", lambda *_: opened.watch.heard())
            yield Reading(opened.connection, opened.watch.paused)

    def _types(self, connection: sa.Connection, table: str) -> dict[str, sa.types.TypeEngine[Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sa.exc.SAWarning)  # of types that it does not know, in other columns
            try:
                found = sa.inspect(connection).get_columns(table, schema=self.schema)
            except sa.exc.NoSuchTableError:
                return {}
        return {column["name"]: column["type"] for column in found}
