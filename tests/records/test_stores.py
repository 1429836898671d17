# SPDX-License-Identifier: Apache-2.0
"""Every connector keeps the same contract; what is peculiar to one stands below it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.csv import CsvStore
from cloister.records.interface import BATCH_ROWS, Store
from cloister.records.parquet import ParquetStore
from cloister.records.sqlite import SqliteStore
from tests.records.writers import WRITERS, Row, dataset, rows, write_csv, write_parquet, write_sqlite

NAUGHTY = Path(__file__).resolve().parents[3] / "shared" / "data" / "bad_inputs" / "naughty_strings" / "blns.json"
KINDS = tuple(WRITERS)
SECRET = "the-patient-said-so"  # stands for a record's content: no message may hold it


def made(kind: str, folder: Path, content: list[Row], **columns: tuple[str, ...]) -> Store:
    WRITERS[kind](folder / f"notes.{kind}", content, **columns)
    return open_store(dataset(kind, f"notes.{kind}"), root=folder)


def everything(store: Store, *columns: str) -> list[tuple[str | None, ...]]:
    found: list[tuple[str | None, ...]] = []
    for batch in store.batches(columns):
        assert batch.schema == pa.schema([(column, pa.string()) for column in columns])
        found += zip(*(cells.to_pylist() for cells in batch.columns), strict=True)
    return found


def refusal(store_or_path: Store | Path, kind: str = "") -> RecordsError:
    """The refusal of a store, which names the file and no content."""
    with pytest.raises(RecordsError) as caught:
        if isinstance(store_or_path, Path):
            path = store_or_path
            everything(open_store(dataset(kind, path.name), root=path.parent), "note", "triage")
        else:
            everything(store_or_path, "note", "triage")
    text = str(caught.value)
    assert SECRET not in text
    assert "notes" in caught.value.message
    assert text[0] in "`c"
    assert "\n" not in text
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
class TestEveryStore:
    def test_columns_come_as_asked_and_only_those(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, rows(3))
        assert store.column_names() == ("note_id", "patient_id", "note", "triage")
        assert everything(store, "triage", "note")[1] == ("soon", "note number 1")
        assert everything(store, "note")[2] == ("note number 2",)

    def test_rows_stream_in_batches_and_none_is_lost(self, kind: str, tmp_path: Path) -> None:
        content = rows(3 * BATCH_ROWS + 7)
        store = made(kind, tmp_path, content)
        assert everything(store, "note") == [(row[2],) for row in content]
        assert everything(store, "note") == everything(store, "note")

    def test_an_empty_table_has_no_rows(self, kind: str, tmp_path: Path) -> None:
        assert everything(made(kind, tmp_path, []), "note", "triage") == []

    def test_a_declared_column_that_is_missing_is_named_with_the_nearest(self, kind: str, tmp_path: Path) -> None:
        WRITERS[kind](
            tmp_path / "notes.x", [("1", "2", "3", "4")], columns=("note_id", "patient_id", "notte", "triage")
        )
        error = refusal(tmp_path / "notes.x", kind)
        assert error.message == "`notes.x` has no column `note`"
        assert error.hint == "nearest is `notte`"

    def test_naughty_strings_pass_unharmed(self, kind: str, tmp_path: Path) -> None:
        if not NAUGHTY.is_file():
            pytest.skip(f"the shared test data is not here: {NAUGHTY}")
        strings = [
            *json.loads(NAUGHTY.read_text(encoding="utf-8")),
            "a\0b",
            "\0",
            "a\r\nb\rc",
            '"',
            '""',
            "\ufeff",
            "a,b;c",
        ]
        content = [(str(n), "p", text, "soon") for n, text in enumerate(strings)]
        assert len(content) > 500
        assert everything(made(kind, tmp_path, content), "note", "triage") == [(text, "soon") for text in strings]

    def test_missing_file_folder_and_empty_file(self, kind: str, tmp_path: Path) -> None:
        assert refusal(tmp_path / "notes.none", kind).message == "`notes.none` does not exist"
        (tmp_path / "notes.folder").mkdir()
        assert refusal(tmp_path / "notes.folder", kind).message == "`notes.folder` is a folder, not a file"
        (tmp_path / "notes.empty").touch()
        assert refusal(tmp_path / "notes.empty", kind).message == "`notes.empty` is an empty file"

    def test_something_else_altogether(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "notes.x").write_bytes(b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 50)
        refusal(tmp_path / "notes.x", kind)

    def test_numbers_are_written_in_decimal(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, [("1", "2", "3", 4), ("1", "2", "3", -50)])
        assert everything(store, "triage") == [("4",), ("-50",)]

    def test_the_file_is_not_changed(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, rows(3))
        before = (store.path.read_bytes(), sorted(tmp_path.iterdir()))
        everything(store, "note")
        assert (store.path.read_bytes(), sorted(tmp_path.iterdir())) == before

    def test_an_absolute_path_is_taken_as_it_is(self, kind: str, tmp_path: Path) -> None:
        WRITERS[kind](tmp_path / "notes.x", rows(2))
        store = open_store(dataset(kind, str(tmp_path / "notes.x")), root=Path("/elsewhere"))
        assert len(everything(store, "note")) == 2


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_nulls_stay_nulls(kind: str, tmp_path: Path) -> None:
    assert everything(made(kind, tmp_path, [("1", "2", None, "soon"), ("1", "2", "x", None)]), "note", "triage") == [
        (None, "soon"),
        ("x", None),
    ]


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

    def test_odd_characters_in_the_path_do_no_harm(self, tmp_path: Path) -> None:
        folder = tmp_path / "a b?mode=rwc#%41é"
        folder.mkdir()
        assert len(everything(made("sqlite", folder, rows(2)), "note")) == 2


class TestParquet:
    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "notes.parquet", rows(100))
        content = (tmp_path / "notes.parquet").read_bytes()
        for size in (3, len(content) // 2, len(content) - 1):
            (tmp_path / "notes.parquet").write_bytes(content[:size])
            error = refusal(tmp_path / "notes.parquet", "parquet")
            assert error.message == "`notes.parquet` is not a readable Parquet file"

    def test_a_damaged_page_is_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "notes.parquet", rows(100))
        content = bytearray((tmp_path / "notes.parquet").read_bytes())
        content[4 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 4)
        (tmp_path / "notes.parquet").write_bytes(content)
        refusal(tmp_path / "notes.parquet", "parquet")

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
    def test_text_that_is_no_utf8_names_column_and_row(self, kind: pa.DataType, tmp_path: Path) -> None:
        notes = pa.array([b"fine", None, SECRET.encode() + b"\xff"], pa.large_binary()).cast(pa.binary())
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            column = notes.cast(kind)
        else:
            column = pa.Array.from_buffers(pa.string(), 3, notes.buffers())  # pyarrow checks no UTF-8 here
            column = column if kind == pa.string() else column.cast(kind)
        ids = pa.array(["1", "2", "3"])
        table = pa.table([ids, ids, column, ids], names=["note_id", "patient_id", "note", "triage"])
        parquet.write_table(table, tmp_path / "notes.parquet")
        error = refusal(tmp_path / "notes.parquet", "parquet")
        assert error.message == "column `note` of `notes.parquet` is not UTF-8 in row 3"

    def test_dictionaries_and_bytes_are_text(self, tmp_path: Path) -> None:
        ids = pa.array(["1", "2"])
        label = pa.array(["soon", "urgent"]).dictionary_encode()
        table = pa.table(
            [ids, ids, pa.array([b"x", b"\xc3\xa9"]), label], names=["note_id", "patient_id", "note", "triage"]
        )
        parquet.write_table(table, tmp_path / "notes.parquet")
        store = ParquetStore(tmp_path / "notes.parquet", "notes.parquet")
        assert everything(store, "note", "triage") == [("x", "soon"), ("é", "urgent")]

    @pytest.mark.parametrize("cells", [[[1], [2]], [1.5, 2.5], [{"a": 1}, {"a": 2}], [True, False]])
    def test_what_is_no_text_is_refused(self, cells: list[object], tmp_path: Path) -> None:
        ids = pa.array(["1", "2"])
        table = pa.table([ids, ids, pa.array(cells), ids], names=["note_id", "patient_id", "note", "triage"])
        parquet.write_table(table, tmp_path / "notes.parquet")
        assert "which is no text" in refusal(tmp_path / "notes.parquet", "parquet").message

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        ids = pa.array(["1"])
        table = pa.table([ids] * 5, names=["note_id", "patient_id", "note", "note", "triage"])
        parquet.write_table(table, tmp_path / "notes.parquet")
        assert "has 2 columns called `note`" in refusal(tmp_path / "notes.parquet", "parquet").message


class TestCsv:
    HEADER = b"note_id,patient_id,note,triage\n"

    def written(self, folder: Path, content: bytes) -> Path:
        (folder / "notes.csv").write_bytes(content)
        return folder / "notes.csv"

    def read(self, folder: Path, content: bytes) -> list[tuple[str | None, ...]]:
        path = self.written(folder, content)
        return everything(open_store(dataset("csv", path.name), root=folder), "note", "triage")

    def test_rows_with_too_few_or_too_many_fields_are_named(self, tmp_path: Path) -> None:
        for row, fields in ((b"1,2,%b", 3), (b"1,2,%b,soon,5", 5)):
            content = self.HEADER + b"1,2,x,soon\n" * 4 + row % SECRET.encode() + b"\n"
            error = refusal(self.written(tmp_path, content), "csv")
            assert f"row 5 has {fields} fields, the header 4" in error.message

    def test_bytes_that_are_no_utf8_name_column_and_row(self, tmp_path: Path) -> None:
        content = self.HEADER + b"1,2,x,soon\n" + b"1,2,caf\xe9 %b,soon\n" % SECRET.encode()
        error = refusal(self.written(tmp_path, content), "csv")
        assert error.message == "column `note` of `notes.csv` is not UTF-8 in row 2"

    def test_a_column_that_nobody_asked_for_may_hold_anything(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER + b"1,\xff\xfe,x,soon\n") == [("x", "soon")]

    def test_utf16_is_refused(self, tmp_path: Path) -> None:
        content = (self.HEADER.decode() + "1,2,x,soon\n").encode("utf-16")
        assert "has no readable header line" in refusal(self.written(tmp_path, content), "csv").message

    @pytest.mark.parametrize("tail", [b'1,2,"x,soon\n1,2,y,soon\n', b'1,2,x,"soon', b'1,2,x,soon\n1,2,y,"soon\n'])
    def test_a_quote_that_is_never_closed_is_refused(self, tail: bytes, tmp_path: Path) -> None:
        refusal(self.written(tmp_path, self.HEADER + tail), "csv")

    def test_a_row_longer_than_a_block_is_refused(self, tmp_path: Path) -> None:
        content = self.HEADER + b'1,2,"' + SECRET.encode() * 200_000 + b'",soon\n'
        assert "longer than 1 MiB" in refusal(self.written(tmp_path, content), "csv").message

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_any_line_end_will_do(self, end: bytes, tmp_path: Path) -> None:
        content = (self.HEADER + b"1,2,x,soon\n1,2,y,urgent\n").replace(b"\n", end)
        assert self.read(tmp_path, content) == [("x", "soon"), ("y", "urgent")]
        assert self.read(tmp_path, b"\xef\xbb\xbf" + content.rstrip()) == [("x", "soon"), ("y", "urgent")]

    def test_a_header_alone_is_an_empty_table(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER) == []
        assert self.read(tmp_path, self.HEADER.rstrip()) == []

    def test_words_for_nothing_are_words(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER + b"1,2,NA,null\n1,2,,\n") == [("NA", "null"), ("", "")]

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        content = b"note_id,patient_id,note,note,triage\n1,2,x,y,soon\n"
        assert "has 2 columns called `note`" in refusal(self.written(tmp_path, content), "csv").message

    def test_an_endless_header_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, b'"' + b"x" * 300_000)
        with pytest.raises(RecordsError, match="no readable header line"):
            CsvStore(path, "notes.csv").column_names()

    def test_a_stray_record_does_not_end_up_in_the_header(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "notes.csv", rows(2))
        assert CsvStore(tmp_path / "notes.csv", "notes.csv").column_names()[2] == "note"
