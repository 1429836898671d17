# SPDX-License-Identifier: Apache-2.0
"""Where the tables of an OMOP CDM lie, each opened read-only as a database that SQLAlchemy speaks to."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from cloister.errors import RecordsError
from cloister.records.omop.export import OmopExport
from cloister.records.omop.loading import load
from cloister.records.omop.tables import Cell
from cloister.records.sql.sqlite import SqliteStore
from cloister.silos.omop import OmopConnector

Tables = Mapping[str, Mapping[str, Cell]]
"""Names of tables, and of their columns with what those hold."""


@dataclass(frozen=True)
class Reading:
    """A database while it is read.

    Attributes:
        connection: all that is asked over it is answered from one state of the database.
        paused: a context in which nothing is asked, however long it takes.
    """

    connection: sa.Connection
    paused: Callable[[], AbstractContextManager[None]] = nullcontext


class OmopSource(ABC):
    """A place with a CDM.

    Attributes:
        shown: how the silo document names it, for messages.
        schema: where in the database the tables lie, if not where it looks by itself.
    """

    def __init__(self, shown: str, schema: str | None = None) -> None:
        self.shown = shown
        self.schema = schema

    @abstractmethod
    def columns(self, tables: Tables) -> Mapping[str, tuple[str, ...]]:
        """Names of the columns of those of ``tables`` that are there; no record is read.

        Raises:
            RecordsError: where the source cannot be read as what it should be.
        """

    @abstractmethod
    def opened(self, connector: OmopConnector) -> AbstractContextManager[Reading]:
        """The database, or another one that holds what ``connector`` needs, in one state of it.

        Raises:
            RecordsError: where the source breaks off, in whatever is asked of the connection too.
        """


class OmopSqlite(OmopSource):
    """The SQLite database at ``path``."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(shown)
        self._store = SqliteStore(path, shown, "person")

    def columns(self, tables: Tables) -> Mapping[str, tuple[str, ...]]:
        """See `OmopSource.columns`; SQLite knows names in any case."""
        found = {}
        with self._store.connection() as database:
            for table in tables:
                rows = database.execute("SELECT name FROM pragma_table_info(?)", (table,))
                if names := tuple(name.decode(errors="replace").lower() for (name,) in rows):
                    found[table] = names
        return found

    @contextmanager
    def opened(self, connector: OmopConnector) -> Iterator[Reading]:
        """See `OmopSource.opened`."""
        del connector
        with self._store.connection() as database, _through_sqlalchemy(database) as reading:
            yield reading


class OmopCsv(OmopSource):
    """The CSV export at ``path``, a folder or a zip archive."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(shown)
        self._export = OmopExport(path, shown)

    def columns(self, tables: Tables) -> Mapping[str, tuple[str, ...]]:
        """See `OmopSource.columns`."""
        return self._export.headers(tuple(tables))

    @contextmanager
    def opened(self, connector: OmopConnector) -> Iterator[Reading]:
        """See `OmopSource.opened`.

        The database is one of SQLite's own temporary files (https://www.sqlite.org/inmemorydb.html#temp_db): on disk
        beyond 2 MB, without a name, gone with the connection.
        """
        try:
            with closing(sqlite3.connect("")) as database:
                database.execute("PRAGMA journal_mode = OFF")  # what breaks off is thrown away, not undone
                load(self._export, connector, database)
                database.commit()
                with _through_sqlalchemy(database) as reading:
                    yield reading
        except sqlite3.Error as error:
            reason = getattr(error, "sqlite_errorname", "") or "no reason given"
            hint = "is there room in the folder for temporary files, `TMPDIR`?"
            raise RecordsError(
                f"`{self.shown}` cannot be brought into a temporary database: {reason}", hint=hint
            ) from None


@contextmanager
def _through_sqlalchemy(database: sqlite3.Connection) -> Iterator[Reading]:
    """All that is asked comes from one state of ``database``, and its errors are sqlite3's."""
    database.text_factory = str
    engine = sa.create_engine("sqlite://", creator=lambda: database, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            if not database.in_transaction:
                connection.exec_driver_sql("BEGIN")
            yield Reading(connection)
    except sa.exc.DBAPIError as error:
        raise (error.orig or error) from None
    finally:
        engine.dispose()
