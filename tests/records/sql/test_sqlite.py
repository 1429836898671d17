# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS
from cloister.records.sql.sqlite import SqliteStore
from tests.records.contract import SECRET, everything, made, refusal
from tests.records.writers import Row, rows, write_sqlite


class TestSqlite:
    def test_bytes_that_are_no_utf8_name_column_and_row(self, tmp_path: Path) -> None:
        content: list[Row] = [*rows(BATCH_ROWS), ("1", "2", SECRET.encode() + b"\xff", "soon")]
        error = refusal(made("sqlite", tmp_path, content))
        assert error.message == f"column `note` of `notes.sqlite` is not UTF-8 in row {BATCH_ROWS + 1}"

    def test_text_that_is_no_utf8_is_refused_too(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "notes.db", rows(1))
        with closing(sqlite3.connect(tmp_path / "notes.db")) as connection, connection:
            connection.execute("UPDATE notes SET note = CAST(x'ff41' AS TEXT)")
        assert "not UTF-8 in row 1" in refusal(tmp_path / "notes.db", "sqlite").message

    def test_bytes_that_are_utf8_are_text(self, tmp_path: Path) -> None:
        assert everything(made("sqlite", tmp_path, [("1", "2", "é".encode(), "soon")]), "note") == [("é",)]

    def test_a_missing_table_is_named(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "notes.db")) as connection, connection:
            connection.execute("CREATE TABLE other (note)")
        assert refusal(tmp_path / "notes.db", "sqlite").message == "`notes.db` has no table `notes`"

    def test_a_locked_database_is_not_waited_for_for_ever(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "notes.db", rows(1))
        with closing(sqlite3.connect(tmp_path / "notes.db")) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            error = refusal(SqliteStore(tmp_path / "notes.db", "notes.db", "notes", wait_seconds=0.05))
        assert error.message == "`notes.db` is locked by another program"

    def test_a_damaged_database_is_refused(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "notes.db", [(str(n), "p", SECRET * 20, "soon") for n in range(200)])
        content = bytearray((tmp_path / "notes.db").read_bytes())
        content[4096:] = b"\xaa" * (len(content) - 4096)
        (tmp_path / "notes.db").write_bytes(content)
        assert refusal(tmp_path / "notes.db", "sqlite").message == "`notes.db` cannot be read by SQLite: SQLITE_CORRUPT"

    def test_a_damaged_schema_that_is_no_utf8_is_refused(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "notes.db", rows(2))
        content = (tmp_path / "notes.db").read_bytes()
        damaged = content.replace(b"tablenotesnotes", b"tablen\xe9tesnotes").replace(b"CREATE TABLE", b"CREATE TABLX")
        assert len(damaged) == len(content)
        (tmp_path / "notes.db").write_bytes(damaged)
        assert refusal(tmp_path / "notes.db", "sqlite").message == "`notes.db` cannot be read by SQLite: SQLITE_CORRUPT"

    def test_not_a_database(self, tmp_path: Path) -> None:
        (tmp_path / "notes.db").write_bytes(SECRET.encode() * 100)
        assert refusal(tmp_path / "notes.db", "sqlite").message == "`notes.db` is not an SQLite database"

    def test_a_column_that_is_gone_is_not_read_as_a_text(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "notes.db", rows(1))
        with pytest.raises(RecordsError, match="has no column `nope`"):
            everything(SqliteStore(tmp_path / "notes.db", "notes.db", "notes"), "nope")

    def test_only_the_asked_columns_are_selected(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path / "base.db", rows(2))
        with closing(sqlite3.connect(tmp_path / "base.db")) as connection, connection:
            # Reading `patient_id` of this view fails, so whoever reads it is found out.
            connection.execute("ALTER TABLE notes RENAME TO kept")
            connection.execute(
                "CREATE VIEW notes AS"
                " SELECT note_id, abs(-9223372036854775807 - 1) AS patient_id, note, triage FROM kept"
            )
        store = SqliteStore(tmp_path / "base.db", "base.db", "notes")
        assert len(everything(store, "note", "triage")) == 2
        with pytest.raises(RecordsError):
            everything(store, "patient_id")

    def test_generated_columns_are_columns(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "notes.db")) as connection, connection:
            connection.execute("CREATE TABLE notes (a, b AS (a * 2), c AS (a * 3) STORED)")
            connection.execute("INSERT INTO notes VALUES (7)")
        store = SqliteStore(tmp_path / "notes.db", "notes.db", "notes")
        assert store.column_names() == ("a", "b", "c")
        assert everything(store, "c", "b") == [("21", "14")]

    def test_odd_characters_in_the_path_do_no_harm(self, tmp_path: Path) -> None:
        folder = tmp_path / "a b?mode=rwc#%41é"
        folder.mkdir()
        assert len(everything(made("sqlite", folder, rows(2)), "note")) == 2
