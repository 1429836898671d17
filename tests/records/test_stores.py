# SPDX-License-Identifier: Apache-2.0
"""Every connector keeps the same contract; what is peculiar to one stands in a file of its own."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloister.records import open_store
from cloister.records.interface import BATCH_ROWS, FileStore, Store
from cloister.records.schema import conform
from cloister.row_filter import parse
from cloister.silos import Column, ColumnKind
from tests.records.contract import NAUGHTY, SECRET, everything, made, refusal
from tests.records.writers import COLUMNS, WRITERS, dataset, rows

KINDS = tuple(WRITERS)


def typed(store: Store, column: str, kind: ColumnKind) -> list[Any]:
    """A column's cells as the view would hold them; none breaks its declaration."""
    found: list[Any] = []
    for batch in store.batches((column,)):
        conformed = conform(batch.column(column), Column(kind=kind))
        assert conformed.invalid.true_count == 0
        found += conformed.cells.to_pylist()
    return found


@pytest.mark.parametrize("kind", KINDS)
class TestEveryStore:
    def test_columns_come_as_asked_and_only_those(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, rows(3))
        assert store.column_names() == COLUMNS
        assert everything(store, "triage", "note")[1] == ("soon", "note number 1")
        assert everything(store, "note")[2] == ("note number 2",)

    def test_rows_stream_in_batches_and_none_is_lost(self, kind: str, tmp_path: Path) -> None:
        content = rows(3 * BATCH_ROWS + 7)
        store = made(kind, tmp_path, content)
        assert everything(store, "note") == [(row[2],) for row in content]
        assert everything(store, "note") == everything(store, "note")
        assert max(batch.num_rows for batch in store.batches(("note",))) <= BATCH_ROWS

    def test_a_declared_column_that_is_missing_is_named_with_the_nearest_that_is_surely_a_name(
        self, kind: str, tmp_path: Path
    ) -> None:
        WRITERS[kind](
            tmp_path / "notes.x", [("1", "2", "3", "4")], columns=("note_id", "patient_id", "notte", "triage")
        )
        error = refusal(tmp_path / "notes.x", kind)
        assert error.message == "`notes.x` has no column `note`"
        if kind == "csv":  # where the header was forgotten, the first line is a record
            assert "notte" not in error.hint
        else:
            assert error.hint == "nearest is `notte`"

    def test_a_column_that_vanished_since_is_named(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, rows(2))
        assert isinstance(store, FileStore)
        store.path.unlink()
        WRITERS[kind](store.path, [("1", "2", "4")], columns=("note_id", "patient_id", "triage"))
        assert refusal(store).message == f"`notes.{kind}` has no column `note`"

    @pytest.mark.parametrize("column", COLUMNS)
    def test_naughty_strings_pass_unharmed(self, kind: str, column: str, tmp_path: Path) -> None:
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
        index = COLUMNS.index(column)
        content = [tuple(text if n == index else f"cell {n}" for n in range(len(COLUMNS))) for text in strings]
        assert len(content) > 500
        assert everything(made(kind, tmp_path, content), *COLUMNS) == content

    def test_missing_file_folder_and_empty_file(self, kind: str, tmp_path: Path) -> None:
        assert refusal(tmp_path / "notes.none", kind).message == "`notes.none` does not exist"
        (tmp_path / "notes.folder").mkdir()
        assert refusal(tmp_path / "notes.folder", kind).message == "`notes.folder` is a folder, not a file"
        (tmp_path / "notes.empty").touch()
        assert refusal(tmp_path / "notes.empty", kind).message == "`notes.empty` is an empty file"

    def test_a_pipe_is_not_waited_for(self, kind: str, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "notes.pipe")
        assert refusal(tmp_path / "notes.pipe", kind).message == "`notes.pipe` is not a file"

    @pytest.mark.parametrize(
        "content",
        [
            b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 50,
            SECRET.encode() * 50,
            b"\0" * 5000,
            b"\n" * 5000,
            b"PK\x03\x04" + bytes(range(256)) * 20,
            b"\x1f\x8b\x08" + SECRET.encode() * 50,
        ],
    )
    def test_something_else_altogether(self, kind: str, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "notes.x").write_bytes(content)
        refusal(tmp_path / "notes.x", kind)

    @pytest.mark.parametrize(
        ("kind_of_column", "cells"),
        [
            (ColumnKind.INTEGER, [4, -50, 0, 2**53 + 1, -(2**53) - 1]),
            (ColumnKind.NUMBER, [4.5, -0.1, 1e-300, 1.7976931348623157e308, 5e-324]),
            (ColumnKind.BOOLEAN, [True, False]),
            (ColumnKind.DATE, [date(1899, 12, 31), date(2024, 2, 29)]),
            (ColumnKind.TIMESTAMP, [datetime(1899, 12, 31, tzinfo=UTC), datetime(2024, 2, 29, 1, 2, 3, 456789, UTC)]),
            (ColumnKind.TEXT, ["4", "004", "4.0", "1e3", "true", "2024-02-29", "null", "NaN"]),
        ],
    )
    def test_cells_keep_their_value(
        self, kind: str, kind_of_column: ColumnKind, cells: list[Any], tmp_path: Path
    ) -> None:
        store = made(kind, tmp_path, [("1", "2", "3", cell) for cell in cells])
        assert typed(store, "triage", kind_of_column) == cells

    @pytest.mark.parametrize("kind_of_column", [ColumnKind.INTEGER, ColumnKind.NUMBER, ColumnKind.IDENTIFIER])
    def test_whole_numbers_among_which_one_is_missing_may_be_floats(
        self, kind: str, kind_of_column: ColumnKind, tmp_path: Path
    ) -> None:
        if kind in ("csv", "json-lines"):
            pytest.skip("what is written is read, and 5.0 is not written like a whole number")
        found = typed(made(kind, tmp_path, [("1", "2", "3", 5.0), ("1", "2", "3", None)]), "triage", kind_of_column)
        assert found == (["5", None] if kind_of_column is ColumnKind.IDENTIFIER else [5, None])

    def test_a_filter_leaves_out_none_that_it_lets_through_and_counts_the_rest(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, [(str(n), "p", "x", n) for n in range(1000)])
        for text, passing in (("triage >= 990", 10), ("triage < 0", 0), ("triage >= 0 or triage is missing", 1000)):
            given = 0
            for _ in range(2):  # what was left out is counted anew
                batches = list(store.batches(("note", "triage"), parse(text)))
                given = sum(batch.num_rows for batch in batches)
                assert given + store.left_out == 1000
            assert given >= passing
        assert sum(batch.num_rows for batch in store.batches(("note",))) == 1000
        assert store.left_out == 0

    def test_the_file_is_not_changed(self, kind: str, tmp_path: Path) -> None:
        store = made(kind, tmp_path, rows(3))
        assert isinstance(store, FileStore)
        before = (store.path.read_bytes(), sorted(tmp_path.iterdir()))
        everything(store, "note")
        assert (store.path.read_bytes(), sorted(tmp_path.iterdir())) == before

    def test_an_absolute_path_is_taken_as_it_is(self, kind: str, tmp_path: Path) -> None:
        WRITERS[kind](tmp_path / "notes.x", rows(2))
        store = open_store(dataset(kind, str(tmp_path / "notes.x")), root=Path("/elsewhere"))
        assert len(everything(store, "note")) == 2

    def test_it_holds_no_images(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(Exception, match="holds no images"):
            made(kind, tmp_path, rows(1)).read_image("scan-1")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "json-lines"])
def test_an_empty_table_has_no_rows(kind: str, tmp_path: Path) -> None:
    assert everything(made(kind, tmp_path, []), "note", "triage") == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "csv"])
def test_nulls_stay_nulls(kind: str, tmp_path: Path) -> None:
    assert everything(made(kind, tmp_path, [("1", "2", None, "soon"), ("1", "2", "x", None)]), "note", "triage") == [
        (None, "soon"),
        ("x", None),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_without_a_single_cell(kind: str, tmp_path: Path) -> None:
    found = []
    for batch in made(kind, tmp_path, [("1", "2", None, "soon"), ("1", "2", None, "soon")]).batches(("note", "triage")):
        assert batch.column("note").type in (pa.string(), pa.null())
        found += batch.column("note").to_pylist()
    assert found == ([None, None] if kind != "csv" else ["", ""])
