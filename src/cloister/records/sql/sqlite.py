# SPDX-License-Identifier: Apache-2.0
"""A table, or a view, of an SQLite database, opened read-only (https://www.sqlite.org/uri.html, `mode=ro`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore, not_utf8
from cloister.records.sql.pushdown import Clause, Sort, SqlColumn, WhereClause
from cloister.row_filter import RowFilter
from cloister.silos import Column, ColumnKind

_SORTS = {
    ColumnKind.CATEGORY: Sort.TEXT,
    ColumnKind.NUMBER: Sort.FLOAT,
    ColumnKind.INTEGER: Sort.FLOAT,
    ColumnKind.DATE: Sort.DATE_IN_TEXT,
}
_EXACT = 2**53  # up to here whole numbers and floats are the same numbers
_OTHER_CELLS = {
    Sort.TEXT: ("integer", "real", "blob"),
    Sort.DATE_IN_TEXT: ("integer", "real", "blob"),
    Sort.FLOAT: ("text", "blob"),
}
"""Types of cells (https://www.sqlite.org/lang_corefunc.html#typeof) that may be read as a value of that sort, too."""


class SqliteStore(FileStore):
    """One table of the database at ``path``.

    SQLite types cells, not columns: text and bytes are both taken as UTF-8 text, numbers are written in decimal, whole
    ones without a fraction.
    All rows are read from one state of the database, whatever is written meanwhile.

    Args:
        path: where it lies.
        shown: how the silo document names it, for messages.
        table: its table.
        declared: columns as the silo document declares them; decides which conditions of a filter SQLite may answer.
        wait_seconds: how long is waited for a lock.
    """

    def __init__(
        self,
        path: Path,
        shown: str,
        table: str,
        declared: Mapping[str, Column] | None = None,
        *,
        wait_seconds: float = 5.0,
    ) -> None:
        super().__init__(path, shown)
        self.table = table
        self._declared = declared or {}
        self.wait_seconds = wait_seconds

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self.connection() as connection:
            # `table_info` would leave out generated columns; 1 marks those of a virtual table that are no data.
            rows = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (self.table,))
            names = tuple(name.decode(errors="replace") for (name,) in rows)
        if not names:
            hint = "name a table or view of the database in the silo document"
            raise RecordsError(f"`{self.shown}` has no table `{self.table}`", hint=hint)
        return names

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:
        """See `Store.batches`."""
        self.left_out = 0
        # A double-quoted name that is no column would be read as a text of its own: https://www.sqlite.org/quirks.html#dblquote
        self.require_columns(columns)
        clause = None if where is None else self._clause(where)
        chosen = sa.select(*map(_cell, columns)).select_from(self._table())
        with self.connection() as connection:
            connection.execute("BEGIN")
            everything = 0
            if clause is not None:
                chosen = chosen.where(clause)
                counted = sa.select(sa.func.count()).select_from(self._table())
                (everything,) = connection.execute(*_said(counted)).fetchone()
            first_row = 1
            with closing(connection.execute(*_said(chosen))) as cursor:
                while rows := cursor.fetchmany(BATCH_ROWS):
                    yield self._batch(rows, columns, first_row)
                    first_row += len(rows)
            self.left_out = everything - (first_row - 1) if clause is not None else 0

    def _table(self) -> sa.TableClause:
        return sa.table(sa.sql.quoted_name(self.table, quote=True))

    def _clause(self, where: RowFilter) -> Clause | None:
        known = {name: _filtered(name, column.kind) for name, column in self._declared.items()}
        return WhereClause(known, self._declared).of(where)

    def _batch(self, rows: list[Any], columns: Sequence[str], first_row: int) -> pa.RecordBatch:
        arrays = [
            pa.array([self._text(row[index], column, first_row + n) for n, row in enumerate(rows)], pa.string())
            for index, column in enumerate(columns)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _text(self, value: bytes | float | None, column: str, row: int) -> str | None:
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            return str(int(value))  # a column of whole numbers in which one is missing often holds floats
        if not isinstance(value, bytes):
            return str(value)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise not_utf8(self, column, row) from None

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """The database, read-only; text arrives as bytes.

        Raises:
            RecordsError: where SQLite cannot read it, also for what is asked while it is open.
        """
        self.require_file()
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=self.wait_seconds)) as connection:
                connection.text_factory = bytes  # sqlite3's own decoding error would quote the record
                connection.execute("PRAGMA trusted_schema = OFF")  # a view may not call what changes anything
                yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:  # what SQLite says of a damaged schema quotes it
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> RecordsError:
        name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
        if name == "SQLITE_NOTADB":
            return RecordsError(f"`{self.shown}` is not an SQLite database", hint="see `kind` in the silo document")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            hint = "close the program that writes to it, or name a copy"
            return RecordsError(f"`{self.shown}` is locked by another program", hint=hint)
        hint = "restore it from a backup; `PRAGMA integrity_check` says more"
        return RecordsError(f"`{self.shown}` cannot be read by SQLite: {name}", hint=hint)


def _cell(name: str) -> sa.ColumnClause[Any]:
    return sa.column(sa.sql.quoted_name(name, quote=True))


def _filtered(name: str, kind: ColumnKind) -> SqlColumn:
    """How a filter may look at a column; SQLite types cells, not columns, so each cell's type is asked."""
    cell, sort = _cell(name), _SORTS.get(kind)
    if sort is None:
        return SqlColumn(cell, None)
    unless: Clause = sa.func.typeof(cell).in_(_OTHER_CELLS[sort])
    if sort is Sort.DATE_IN_TEXT:  # of a moment the day counts, which texts cannot tell by their order
        unless = sa.or_(unless, sa.func.length(cell) != len("2024-01-31"))
    return SqlColumn(cell if sort is Sort.FLOAT else sa.collate(sa.cast(cell, sa.Text()), "BINARY"), sort, unless)


def _said(statement: sa.Select[Any]) -> tuple[str, dict[str, Any]]:
    """The statement as SQLite reads it, and the values that are bound to its names."""
    dialect = sqlite.dialect(paramstyle="named")
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)
