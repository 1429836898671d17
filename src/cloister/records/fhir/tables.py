# SPDX-License-Identifier: Apache-2.0
"""What is kept on disk while a FHIR export is read: rows, who refers to whom, and what each column has so far.

It is a temporary database of SQLite's own, which it makes readable by the owner alone and removes from its folder as
soon as it is open, so that nothing is left whatever happens (https://www.sqlite.org/inmemorydb.html#temp_db). Some
64 MiB of it are held in memory, and no more, however many resources there are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from cloister.errors import RecordsError

_BUFFER = 4096
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -65536;
CREATE TABLE seen (key TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID;
CREATE TABLE rows (row INTEGER PRIMARY KEY, cells TEXT);
CREATE TABLE target (key TEXT PRIMARY KEY, owner TEXT, row INTEGER) WITHOUT ROWID;
CREATE TABLE reference (key TEXT, kind TEXT, number INTEGER, PRIMARY KEY (key, kind)) WITHOUT ROWID;
CREATE TABLE state (
  key TEXT, field INTEGER, number INTEGER, total REAL, rank, value TEXT, PRIMARY KEY (key, field)
) WITHOUT ROWID;
"""
_STATE = """
INSERT INTO state VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (key, field) DO UPDATE SET
  number = number + 1,
  total = total + excluded.total,
  value = CASE WHEN excluded.rank {sign} rank THEN excluded.value ELSE value END,
  rank = CASE WHEN excluded.rank {sign} rank THEN excluded.rank ELSE rank END
"""
_STATEMENTS = {
    "lower": _STATE.format(sign="<"),
    "higher": _STATE.format(sign=">"),
    "reference": """
        INSERT INTO reference VALUES (?, ?, 1) ON CONFLICT (key, kind) DO UPDATE SET number = number + 1
    """,
    "rows": "INSERT INTO rows VALUES (?, ?)",
}


class State(NamedTuple):
    """What the resources that refer to one key brought to one column.

    Attributes:
        number: how many brought anything.
        total: sum of their numbers.
        rank: of the one that stands.
        value: of the one that stands.
    """

    number: int
    total: float
    rank: Any
    value: str


class Tables:
    """The temporary database; made by `open_tables`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _STATEMENTS}
        self._rows = 0

    def is_new(self, key: str, digest: bytes) -> bool:
        """Whether no resource with that name was there before; False where one was with the same digest.

        Raises:
            KeyError: where another one was.
        """
        if self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, digest)).rowcount:
            return True
        ((known,),) = self._connection.execute("SELECT digest FROM seen WHERE key = ?", (key,))
        if known != digest:
            raise KeyError
        return False

    def add_row(self, cells: list[Any]) -> int:
        """A row, with what its own resource says; gives its number."""
        self._rows += 1
        self._write("rows", (self._rows, json.dumps(cells)))
        return self._rows

    def add_target(self, key: str, owner: str, row: int | None) -> bool:
        """A name under which resources may refer to another, whose own name and, where it is one, row are given.

        Returns:
            Whether it did not bear that name before.

        Raises:
            KeyError: where another one bears it.
        """
        if self._connection.execute("INSERT OR IGNORE INTO target VALUES (?, ?, ?)", (key, owner, row)).rowcount:
            return True
        ((known,),) = self._connection.execute("SELECT owner FROM target WHERE key = ?", (key,))
        if known != owner:
            raise KeyError
        return False

    def row_of(self, owner: str) -> int | None:
        """The row of the resource whose own name that is."""
        ((row,),) = self._connection.execute("SELECT row FROM target WHERE key = ?", (owner,))
        return row if isinstance(row, int) else None

    def add_reference(self, key: str, kind: str) -> None:
        """A resource of type ``kind`` refers to ``key``."""
        self._write("reference", (key, kind))

    def add_value(self, key: str, field: int, number: float, rank: str | float, value: str, *, lowest: bool) -> None:
        """What a resource that refers to ``key`` brings to a column; that of the lowest or highest rank stands."""
        self._write("lower" if lowest else "higher", (key, field, number, rank, value))

    def missing(self) -> dict[str, int]:
        """How many references there are to what is not in the export, by the type of the resource that refers."""
        self._flush()
        statement = """
            SELECT kind, SUM(number) FROM reference WHERE key NOT IN (SELECT key FROM target) GROUP BY kind
        """
        return dict(self._connection.execute(statement))

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """All rows in order: the number, and what the row's own resource says."""
        self._flush()
        self._connection.execute("CREATE INDEX by_row ON target (row)")
        for row, cells in self._connection.execute("SELECT row, cells FROM rows ORDER BY row"):
            yield row, json.loads(cells)

    def values_of_row(self, row: int) -> dict[int, list[State]]:
        """What was brought to a row, under any of its names, by column."""
        found: dict[int, list[State]] = {}
        statement = """
            SELECT field, number, total, rank, value FROM target JOIN state USING (key) WHERE row = ? ORDER BY key
        """
        for field, *state in self._connection.execute(statement, (row,)):
            found.setdefault(field, []).append(State(*state))
        return found

    def value_of(self, key: str, field: int) -> list[State]:
        """What was brought to one name."""
        statement = "SELECT number, total, rank, value FROM state WHERE key = ? AND field = ?"
        return [State(*state) for state in self._connection.execute(statement, (key, field))]

    def _write(self, name: str, values: tuple[Any, ...]) -> None:
        waiting = self._waiting[name]
        waiting.append(values)
        if len(waiting) >= _BUFFER:
            self._connection.executemany(_STATEMENTS[name], waiting)
            waiting.clear()

    def _flush(self) -> None:
        for name, waiting in self._waiting.items():
            self._connection.executemany(_STATEMENTS[name], waiting)
            waiting.clear()


@contextmanager
def open_tables(shown: str) -> Iterator[Tables]:
    """The temporary database, for as long as it is needed.

    Args:
        shown: the store, for messages.

    Raises:
        RecordsError: where it cannot be written.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN")
            yield Tables(connection)
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        hint = "is there room in the folder for temporary files (`TMPDIR`)?"
        raise RecordsError(f"what is read from `{shown}` cannot be kept on disk: {name}", hint=hint) from None
