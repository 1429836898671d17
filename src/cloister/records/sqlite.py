# SPDX-License-Identifier: Apache-2.0
"""A table, or a view, of an SQLite database, opened read-only (https://www.sqlite.org/uri.html, `mode=ro`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore, not_utf8
from cloister.row_filter import RowFilter


class SqliteStore(FileStore):
    """One table of the database at ``path``.

    SQLite types cells, not columns: text and bytes are both taken as UTF-8 text, numbers are written in decimal.
    All rows come from one statement, hence from one state of the database, whatever is written meanwhile.
    """

    def __init__(self, path: Path, shown: str, table: str, *, wait_seconds: float = 5.0) -> None:
        super().__init__(path, shown)
        self.table = table
        self.wait_seconds = wait_seconds

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self.connection() as connection:
            rows = connection.execute("SELECT name FROM pragma_table_info(?)", (self.table,))
            names = tuple(name.decode(errors="replace") for (name,) in rows)
        if not names:
            hint = "name a table or view of the database in the silo document"
            raise RecordsError(f"`{self.shown}` has no table `{self.table}`", hint=hint)
        return names

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        # A double-quoted name that is no column would be read as a text of its own: https://www.sqlite.org/quirks.html#dblquote
        self.require_columns(columns)
        chosen = ", ".join(_quoted(column) for column in columns)
        statement = f"SELECT {chosen} FROM {_quoted(self.table)}"  # noqa: S608  names are quoted and known to exist
        first_row = 1
        with self.connection() as connection, closing(connection.execute(statement)) as cursor:
            while rows := cursor.fetchmany(BATCH_ROWS):
                arrays = [
                    pa.array([self._text(row[index], column, first_row + n) for n, row in enumerate(rows)], pa.string())
                    for index, column in enumerate(columns)
                ]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                first_row += len(rows)

    def _text(self, value: bytes | float | None, column: str, row: int) -> str | None:
        if value is None:
            return None
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
        except sqlite3.Error as error:
            raise self._refusal(error) from None

    def _refusal(self, error: sqlite3.Error) -> RecordsError:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        if name == "SQLITE_NOTADB":
            return RecordsError(f"`{self.shown}` is not an SQLite database", hint="see `kind` in the silo document")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            hint = "close the program that writes to it, or name a copy"
            return RecordsError(f"`{self.shown}` is locked by another program", hint=hint)
        hint = "restore it from a backup; `PRAGMA integrity_check` says more"
        return RecordsError(f"`{self.shown}` cannot be read by SQLite: {name}", hint=hint)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
