# SPDX-License-Identifier: Apache-2.0
"""A table, or a view, of a PostgreSQL database.

Rows are streamed by COPY in binary (https://www.postgresql.org/docs/current/sql-copy.html): the server makes no text of
numbers, and what cannot be said in text, such as whether an empty one is there, need not be guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, Store, as_cells
from cloister.records.sql.postgresql_binary import split_block
from cloister.records.sql.postgresql_columns import PostgresqlColumn, column_of
from cloister.records.sql.postgresql_copy import Block, copied
from cloister.records.sql.postgresql_server import Opened, PostgresqlServer
from cloister.records.sql.pushdown import Clause, WhereClause
from cloister.row_filter import RowFilter, columns_of
from cloister.silos import Column, PostgresqlConnector

_BLOCK_BYTES = 2 << 20

_Types = Mapping[str, sa.types.TypeEngine[object]]


class PostgresqlStore(Store):
    """One table, read in one state of the database, whatever is written meanwhile.

    Args:
        connector: where it lies.
        declared: columns as the silo document declares them; decides how decimals are read, and which conditions of a
            filter the server may answer.
        root: the federation's folder, where relative paths start.
    """

    def __init__(self, connector: PostgresqlConnector, declared: Mapping[str, Column], root: Path) -> None:
        super().__init__(f"{connector.database}.{connector.schema_}.{connector.table}")
        self._connector = connector
        self._declared = declared
        self._server = PostgresqlServer(connector, self.shown, root=root)

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self._server.opened() as opened:
            return tuple(self._types(opened))

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:
        """See `Store.batches`."""
        self.left_out = 0
        with self._server.opened() as opened:
            types = self._types(opened)
            self.require_columns(columns, among=types)
            chosen = [self._column(name, types[name]) for name in columns]
            clause = self._clause(where, types, opened)
            everything = self._count(opened) if clause is not None else 0
            given = 0
            for batch in self._copied(opened, dict(zip(columns, chosen, strict=True)), clause):
                yield batch
                given += batch.num_rows
            self.left_out = everything - given if clause is not None else 0

    def _types(self, opened: Opened) -> _Types:
        place = self._connector
        with opened.watch.waiting(), warnings.catch_warnings():
            warnings.simplefilter("ignore", sa.exc.SAWarning)  # of types that it does not know; nor do we, and say so
            try:
                found = sa.inspect(opened.connection).get_columns(place.table, schema=place.schema_)
            except sa.exc.NoSuchTableError:
                found = []
        if not found:
            hint = f"name a table or view that user `{place.user}` can see in the silo document"
            raise RecordsError(
                f"database `{place.database}` of `{place.shown}` has no table `{place.schema_}.{place.table}`",
                hint=hint,
            )
        return {column["name"]: column["type"] for column in found}

    def _column(self, name: str, kind: sa.types.TypeEngine[object]) -> PostgresqlColumn:
        try:
            return column_of(sa.column(name), kind, self._declared.get(name))
        except ValueError:
            shown = "a type that is not known here" if isinstance(kind, sa.types.NullType) else str(kind).lower()
            raise RecordsError(
                f"column `{name}` of `{self.shown}` is of {shown}, and not of one with single values",
                hint="make a view that gives it as text, and name that in the silo document",
            ) from None

    def _clause(self, where: RowFilter | None, types: _Types, opened: Opened) -> Clause | None:
        if where is None:
            return None
        looked_at = {name: self._column(name, types[name]).filtered for name in columns_of(where) if name in types}
        only_ascii = _encoding(opened) not in ("UTF8", "SQL_ASCII")
        return WhereClause(looked_at, self._declared, only_ascii=only_ascii).of(where)

    def _table(self) -> sa.TableClause:
        return sa.table(self._connector.table, schema=self._connector.schema_)

    def _count(self, opened: Opened) -> int:
        with opened.watch.waiting():
            return int(opened.connection.execute(sa.select(sa.func.count()).select_from(self._table())).scalar_one())

    def _copied(
        self, opened: Opened, columns: Mapping[str, PostgresqlColumn], clause: Clause | None
    ) -> Iterator[pa.RecordBatch]:
        statement = self._statement(opened, columns, clause)
        first_row = 1
        try:
            for block in copied(opened.driver, statement, opened.watch, rows=BATCH_ROWS, size=_BLOCK_BYTES):
                yield self._batch(block, columns, first_row)
                first_row += len(block.sizes)
        except ValueError:
            hint = "is it PostgreSQL, and of a version that is still maintained?"
            raise RecordsError(f"`{self._connector.shown}` answers with something else than rows", hint=hint) from None

    def _statement(self, opened: Opened, columns: Mapping[str, PostgresqlColumn], clause: Clause | None) -> bytes:
        chosen = sa.select(*(column.selected for column in columns.values())).select_from(self._table())
        if clause is not None:
            chosen = chosen.where(clause)
        compiled = chosen.compile(opened.connection, compile_kwargs={"render_postcompile": True})
        with opened.watch.waiting():
            # The time limit is on silence from here on, not on how long all rows take.
            opened.connection.execute(_set("statement_timeout", "0"))
            # Bound on this side, because COPY takes no parameters; bytes from here on, because of the next line.
            select = psycopg.ClientCursor(opened.driver).mogrify(str(compiled), compiled.params)
            if _encoding(opened) == "SQL_ASCII":  # the server knows of no encoding, so it shall not judge by one
                opened.connection.execute(_set("client_encoding", "SQL_ASCII"))
        return f"COPY ({select}) TO STDOUT (FORMAT binary)".encode()

    def _batch(self, block: Block, columns: Mapping[str, PostgresqlColumn], first_row: int) -> pa.RecordBatch:
        cells = split_block(block.content, block.sizes, len(columns))
        arrays = [
            as_cells(column.read(each), self, name, first_row)
            for (name, column), each in zip(columns.items(), cells, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _set(name: str, value: str) -> sa.Select[Any]:
    """A setting of this transaction."""
    return sa.select(sa.func.set_config(name, value, True))


def _encoding(opened: Opened) -> str:
    return (opened.driver.pgconn.parameter_status(b"server_encoding") or b"").decode()
