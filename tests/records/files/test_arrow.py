# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to Arrow files and streams."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.records.files.arrow import ArrowStore
from cloister.records.interface import BATCH_ROWS
from tests.records.contract import NAUGHTY, SECRET, everything, refusal
from tests.records.writers import rows, write_arrow

FORMS = pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])


def written(folder: Path, table: pa.Table, stream: bool, *, compression: str | None = None, rows: int = 100) -> Path:
    path = folder / "notes.arrow"
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def notes(column: pa.Array) -> pa.Table:
    ids = pa.array([str(n) for n in range(len(column))])
    return pa.table([ids, ids, column, ids], names=["note_id", "patient_id", "note", "triage"])


@FORMS
class TestBothForms:
    def test_rows_of_every_batch(self, stream: bool, tmp_path: Path) -> None:
        content = rows(BATCH_ROWS + 7)
        write_arrow(tmp_path / "notes.arrow", content, stream=stream)
        store = ArrowStore(tmp_path / "notes.arrow", "notes.arrow")
        assert store.column_names() == ("note_id", "patient_id", "note", "triage")
        assert everything(store, "triage", "note") == [(row[3], row[2]) for row in content]
        assert [batch.num_rows for batch in store.batches(("note",))] == [BATCH_ROWS, 7]

    @pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
    def test_compressed_or_not(self, stream: bool, compression: str | None, tmp_path: Path) -> None:
        path = written(tmp_path, notes(pa.array([f"note {n}" for n in range(250)])), stream, compression=compression)
        assert everything(ArrowStore(path, "notes.arrow"), "note") == [(f"note {n}",) for n in range(250)]

    @pytest.mark.parametrize(
        ("cells", "kind"),
        [
            ([1, None, 2**63 - 1], pa.int64()),
            ([0.1, None], pa.float64()),
            ([True, None], pa.bool_()),
            ([date(2024, 2, 29), None], pa.date32()),
            ([datetime(2024, 2, 29, 1, 2, 3, 4, UTC), None], pa.timestamp("us", tz="UTC")),
            ([Decimal("1.10"), None], pa.decimal128(9, 2)),
        ],
    )
    def test_types_are_kept(self, stream: bool, cells: list[object], kind: pa.DataType, tmp_path: Path) -> None:
        path = written(tmp_path, pa.table({"x": pa.array(cells, kind)}), stream)
        assert everything(ArrowStore(path, "x"), "x", types={"x": kind}) == [(cell,) for cell in cells]

    @pytest.mark.parametrize(
        "kind", [pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
    )
    def test_any_kind_of_text_is_text(self, stream: bool, kind: pa.DataType, tmp_path: Path) -> None:
        path = written(tmp_path, notes(pa.array(["x", None, "é" * 50]).cast(kind)), stream)
        assert everything(ArrowStore(path, "notes.arrow"), "note") == [("x",), (None,), ("é" * 50,)]

    @pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}]])
    def test_what_is_no_single_value_is_refused(self, stream: bool, cells: list[object], tmp_path: Path) -> None:
        path = written(tmp_path, notes(pa.array(cells)), stream)
        assert "which is no single value" in refusal(path, "arrow").message

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
    def test_text_that_is_no_utf8_names_column_and_row(self, stream: bool, kind: pa.DataType, tmp_path: Path) -> None:
        raw = pa.array([b"fine", None] * 75 + [SECRET.encode() + b"\xff"], pa.large_binary())
        column = raw if kind == pa.large_string() else raw.cast(pa.binary())
        if kind != pa.binary():
            column = pa.Array.from_buffers(kind, len(column), column.buffers())  # pyarrow checks no UTF-8 here
        error = refusal(written(tmp_path, notes(column), stream), "arrow")
        assert error.message == "column `note` of `notes.arrow` is not UTF-8 in row 151"

    def test_a_file_that_is_cut_off_anywhere_is_refused(self, stream: bool, tmp_path: Path) -> None:
        path = written(tmp_path, notes(pa.array([f"{SECRET} {n}" for n in range(30)])), stream, rows=10)
        content = path.read_bytes()
        for size in range(1, len(content), 8):
            path.write_bytes(content[:size])
            assert refusal(path, "arrow").message == "`notes.arrow` is not a readable Arrow file or stream"
        path.write_bytes(content)
        assert len(everything(ArrowStore(path, "notes.arrow"), "note")) == 30

    def test_any_byte_may_be_wrong(self, stream: bool, tmp_path: Path) -> None:
        """Either rows come, all of them, or one sentence does; damaged lengths and places end no process."""
        path = written(tmp_path, notes(pa.array([f"note {n}" for n in range(60)])), stream, rows=20)
        content = path.read_bytes()
        draw = random.Random(7)
        refused = 0
        for _ in range(300):
            damaged = bytearray(content)
            damaged[draw.randrange(len(content))] = draw.randrange(256)
            path.write_bytes(damaged)
            try:
                assert len(everything(ArrowStore(path, "notes.arrow"), "note", "triage")) == 60
            except RecordsError as error:
                refused += 1
                assert "\n" not in str(error)
        assert refused > 20

    def test_columns_that_nobody_asked_for_are_not_looked_at(self, stream: bool, tmp_path: Path) -> None:
        table = notes(pa.array(["x", "y"])).append_column("more", pa.array([[1], [2]]))
        assert everything(ArrowStore(written(tmp_path, table, stream), "x"), "triage", "note") == [
            ("0", "x"),
            ("1", "y"),
        ]

    def test_two_columns_of_one_name_are_refused(self, stream: bool, tmp_path: Path) -> None:
        table = notes(pa.array(["x"])).append_column("note", pa.array(["y"]))
        assert "has 2 columns called `note`" in refusal(written(tmp_path, table, stream), "arrow").message

    def test_naughty_strings_in_a_stream_too(self, stream: bool, tmp_path: Path) -> None:
        if not NAUGHTY.is_file():
            pytest.skip(f"the shared test data is not here: {NAUGHTY}")
        import json

        strings = json.loads(NAUGHTY.read_text(encoding="utf-8"))
        path = written(tmp_path, notes(pa.array(strings)), stream)
        assert everything(ArrowStore(path, "notes.arrow"), "note") == [(text,) for text in strings]


def test_a_stream_whose_writer_was_never_closed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, notes(pa.array(["x", "y"])), stream=True)
    path.write_bytes(path.read_bytes()[:-8])
    error = refusal(path, "arrow")
    assert "close the writer" in error.hint
