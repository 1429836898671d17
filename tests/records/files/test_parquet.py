# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to Parquet."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.records.files.parquet import ParquetStore
from cloister.records.filter_arrow import mask_of
from cloister.records.interface import BATCH_ROWS
from cloister.records.schema import conform
from cloister.row_filter import RowFilter, parse
from cloister.silos import Column, ColumnKind
from tests.records.contract import SECRET, everything, refusal
from tests.records.writers import rows, write_parquet
from tests.row_filter.filters import filters, leaves_of


class TestParquet:
    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "notes.parquet", rows(100))
        content = (tmp_path / "notes.parquet").read_bytes()
        for size in (3, len(content) // 2, len(content) - 1):
            (tmp_path / "notes.parquet").write_bytes(content[:size])
            error = refusal(tmp_path / "notes.parquet", "parquet")
            assert error.message == "`notes.parquet` is not a readable Parquet file"

    @pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
    def test_a_page_that_is_not_what_was_written_is_refused(self, compression: str, tmp_path: Path) -> None:
        path = tmp_path / "notes.parquet"
        write_parquet(path, [("1", "2", SECRET * 20 + str(n), "soon") for n in range(100)])
        table = parquet.read_table(path)
        parquet.write_table(table, path, compression=compression, use_dictionary=False, write_page_checksum=True)
        content = bytearray(path.read_bytes())
        chunk = parquet.ParquetFile(path).metadata.row_group(0).column(2)
        content[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= 1
        path.write_bytes(content)
        assert refusal(path, "parquet").message == "`notes.parquet` is not a readable Parquet file"

    def test_a_page_that_is_damaged_beyond_the_first_rows_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.parquet"
        table = pa.table({"note": [f"{SECRET} {n}" for n in range(100_000)]})
        parquet.write_table(table, path, row_group_size=20_000, use_dictionary=False, write_page_checksum=True)
        content = bytearray(path.read_bytes())
        chunk = parquet.ParquetFile(path).metadata.row_group(4).column(0)
        content[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= 1
        path.write_bytes(content)
        taken = 0
        with pytest.raises(RecordsError, match="is not a readable Parquet file"):
            for batch in ParquetStore(path, "notes.parquet").batches(("note",)):
                taken += batch.num_rows
        assert taken == 4 * BATCH_ROWS  # the fifth batch reaches into the damaged group

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

    @pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}], [time(1), time(2)], [timedelta(1)] * 2])
    def test_what_is_no_single_value_is_refused(self, cells: list[object], tmp_path: Path) -> None:
        ids = pa.array(["1", "2"])
        table = pa.table([ids, ids, pa.array(cells), ids], names=["note_id", "patient_id", "note", "triage"])
        parquet.write_table(table, tmp_path / "notes.parquet")
        assert "which is no single value" in refusal(tmp_path / "notes.parquet", "parquet").message

    @pytest.mark.parametrize(
        ("cells", "kind"),
        [
            ([1, None, -(2**63)], pa.int64()),
            ([1, None, 2**64 - 1], pa.uint64()),
            ([0.5, None], pa.float32()),
            ([True, None], pa.bool_()),
            ([date(2024, 2, 29), None], pa.date32()),
            ([datetime(2024, 2, 29, 1, 2, 3, 4, UTC), None], pa.timestamp("us", tz="UTC")),
            ([datetime(2024, 2, 29, 1, 2, 3), None], pa.timestamp("ms")),
            ([Decimal("1.10"), None], pa.decimal128(9, 2)),
        ],
    )
    def test_types_are_kept(self, cells: list[object], kind: pa.DataType, tmp_path: Path) -> None:
        parquet.write_table(pa.table({"x": pa.array(cells, kind)}), tmp_path / "notes.parquet")
        store = ParquetStore(tmp_path / "notes.parquet", "notes.parquet")
        assert everything(store, "x", types={"x": kind}) == [(cell,) for cell in cells]

    def test_moments_of_96_bits_are_those_that_were_written(self, tmp_path: Path) -> None:
        kind = pa.timestamp("us")
        moments = [datetime(9999, 12, 31), datetime(1600, 1, 1), datetime(2024, 2, 29, 1, 2, 3, 456789), None]
        table = pa.table({"x": pa.array(moments, kind)})
        parquet.write_table(table, tmp_path / "notes.parquet", use_deprecated_int96_timestamps=True)
        store = ParquetStore(tmp_path / "notes.parquet", "notes.parquet")
        assert everything(store, "x", types={"x": kind}) == [(moment,) for moment in moments]

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        ids = pa.array(["1"])
        table = pa.table([ids] * 5, names=["note_id", "patient_id", "note", "note", "triage"])
        parquet.write_table(table, tmp_path / "notes.parquet")
        assert "has 2 columns called `note`" in refusal(tmp_path / "notes.parquet", "parquet").message


def counted(path: Path, text: str, *columns: str) -> tuple[int, int]:
    """Rows that were given, and those that were left out."""
    store = ParquetStore(path, path.name)
    return sum(batch.num_rows for batch in store.batches(columns, parse(text))), store.left_out


class TestRowGroups:
    """Those in which nothing can pass are never read."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        table = pa.table(
            {
                "n": pa.array(range(1000), pa.int64()),
                "half": pa.array([n / 2 for n in range(1000)]),
                "ward": pa.array(["north" if n < 500 else "south" for n in range(1000)]).dictionary_encode(),
                "day": pa.array([date(2024, 1, 1) + timedelta(days=n) for n in range(1000)]),
                "moment": pa.array([datetime(2024, 1, 1) + timedelta(days=n) for n in range(1000)], pa.timestamp("us")),
                "known": pa.array([n if n >= 900 else None for n in range(1000)], pa.int64()),
                "yes": pa.array([n >= 900 for n in range(1000)]),
                "unsigned": pa.array(range(1000), pa.uint32()),
                "text": pa.array([str(n) for n in range(1000)]),
            }
        )
        parquet.write_table(table, tmp_path / "n.parquet", row_group_size=100)
        return tmp_path / "n.parquet"

    @pytest.mark.parametrize(
        ("text", "read"),
        [
            ("n >= 950", 100),
            ("n < 0", 0),
            ("n >= 100 and n < 200", 100),
            ("n < 100 or n >= 900", 200),
            ("n == 555", 100),
            ("n == 555.5", 100),
            ("n in [5, 995, 5000]", 200),
            ("n not in [5]", 1000),
            ("not n < 950", 100),
            ("not (n < 950 or half < 0)", 100),
            ("half > 499", 100),
            ("ward == 'south'", 500),
            ("ward != 'south'", 500),
            ("ward not in ['south']", 500),
            ("day < 2024-01-02", 100),
            ("moment < 2024-01-02T00:00:00Z", 100),
            ("known >= 0", 100),
            ("not known >= 0", 0),
            ("known is not missing", 100),
            # A cell may be missing in the view that is not missing in the file.
            ("n is missing", 1000),
            ("yes == true", 100),
            # What the file states of these is of another type than what is asked.
            ("moment < 2024-01-02", 1000),
            ("n == true", 1000),
            ("text == 5", 1000),
            ("unsigned < 5", 1000),
        ],
    )
    def test_which_are_read(self, text: str, read: int, path: Path) -> None:
        columns = ("n", "half", "ward", "day", "moment", "known", "yes", "unsigned", "text")
        assert counted(path, text, *columns) == (read, 1000 - read)

    def test_one_that_is_left_out_may_be_damaged(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        group = parquet.ParquetFile(path).metadata.row_group(3).column(0)
        start = group.dictionary_page_offset or group.data_page_offset
        content[start : start + group.total_compressed_size] = b"\xaa" * group.total_compressed_size
        path.write_bytes(content)
        assert counted(path, "n >= 900", "n") == (100, 900)
        with pytest.raises(RecordsError, match="is not a readable Parquet file"):
            counted(path, "n >= 300", "n")

    def test_rows_are_numbered_as_in_the_file_whatever_was_left_out(self, tmp_path: Path) -> None:
        notes = pa.array([b"fine"] * 299 + [SECRET.encode() + b"\xff"], pa.binary())
        parquet.write_table(pa.table({"n": range(300), "note": notes}), tmp_path / "notes.parquet", row_group_size=100)
        with pytest.raises(RecordsError, match=r"column `note` of `notes.parquet` is not UTF-8 in row 300"):
            counted(tmp_path / "notes.parquet", "n >= 250", "n", "note")

    def test_without_statistics_every_row_is_read(self, path: Path) -> None:
        parquet.write_table(parquet.read_table(path), path, row_group_size=100, write_statistics=False)
        assert counted(path, "n < 0", "n") == (1000, 0)


COLUMNS = {
    "whole": (Column(kind=ColumnKind.INTEGER, minimum=-5, maximum=50), pa.int64(), [-6, -1, 0, 1, 2, 9, 2**53 + 1]),
    "number": (Column(kind=ColumnKind.NUMBER), pa.float64(), [-1.5, -0.0, 0.0, 1.0, 2.5, float("nan"), float("inf")]),
    "large": (Column(kind=ColumnKind.NUMBER), pa.int64(), [2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63)]),
    "small": (Column(kind=ColumnKind.NUMBER), pa.float32(), [0.5, 1.5, -3.0]),
    "ward": (Column(kind=ColumnKind.CATEGORY, values=("a", "b", "é")), pa.string(), ["", "a", "b", "é", "zz", "NA"]),
    "flag": (Column(kind=ColumnKind.BOOLEAN), pa.bool_(), [True, False]),
    "bit": (Column(kind=ColumnKind.BOOLEAN), pa.int64(), [0, 1, 2]),
    "day": (Column(kind=ColumnKind.DATE), pa.date32(), [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]),
    "seen": (Column(kind=ColumnKind.DATE), pa.timestamp("us"), [datetime(1969, 12, 31, 23), datetime(2024, 2, 29, 1)]),
    "moment": (Column(kind=ColumnKind.TIMESTAMP), pa.timestamp("ms"), [datetime(1969, 12, 31), datetime(2024, 2, 29)]),
    "exact": (Column(kind=ColumnKind.NUMBER), pa.decimal128(20, 2), [Decimal("0.10"), Decimal("2.50"), Decimal(-1)]),
}  # fmt: skip
VALUES: dict[ColumnKind, list[object]] = {
    ColumnKind.INTEGER: [-6, 0, 1, 2.5, 2**53 + 1, 10**30],
    ColumnKind.NUMBER: [-2, -0.0, 0, 0.1, 1, 2.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, float(2**63), -(10**30)],
    ColumnKind.CATEGORY: ["a", "b", "é", "zz"],
    ColumnKind.BOOLEAN: [True, False],
    ColumnKind.DATE: [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29)],
    ColumnKind.TIMESTAMP: [datetime(1969, 12, 31, tzinfo=UTC), datetime(2024, 2, 29, 1, tzinfo=UTC)],
}
LEAVES = st.one_of(
    *[leaves_of(st.just(name), st.sampled_from(VALUES[it.kind])) for name, (it, _, _) in COLUMNS.items()]
)
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | st.sampled_from(cells) for name, (_, _, cells) in COLUMNS.items()}),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=filters(LEAVES), content=ROWS, group=st.integers(1, 3))
def test_no_row_that_passes_is_ever_left_out(
    condition: RowFilter, content: list[dict[str, object]], group: int, tmp_path: Path
) -> None:
    arrays = [pa.array([row[name] for row in content], kind) for name, (_, kind, _) in COLUMNS.items()]
    numbers = pa.array(range(len(content)))
    table = pa.table([numbers, *arrays], names=["row", *COLUMNS])
    parquet.write_table(table, tmp_path / "n.parquet", row_group_size=group)
    store = ParquetStore(tmp_path / "n.parquet", "n.parquet")

    def passing(where: RowFilter | None) -> list[int]:
        found: list[int] = []
        given = 0
        for batch in store.batches(("row", *COLUMNS), where):
            given += batch.num_rows
            typed = {name: conform(batch.column(name), it, ("NA",)).cells for name, (it, _, _) in COLUMNS.items()}
            found += pc.filter(batch.column("row"), mask_of(condition, pa.RecordBatch.from_pydict(typed))).to_pylist()
        assert given + store.left_out == len(content)
        return found

    assert passing(condition) == passing(None)


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """Either rows come, all of them, or one sentence does."""
    path = tmp_path / "notes.parquet"
    write_parquet(path, rows(60))
    parquet.write_table(parquet.read_table(path), path, row_group_size=20)
    content = path.read_bytes()
    draw = random.Random(7)
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(damaged)
        store = ParquetStore(path, "notes.parquet")
        try:
            taken = sum(batch.num_rows for batch in store.batches(("note", "triage"), parse("triage != 'urgent'")))
        except RecordsError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert taken + store.left_out == 60
    assert refused > 20


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_of_a_row_group(tmp_path: Path) -> None:
    """400 MB of text in one row group; peak memory is what the process reports of itself."""
    path = tmp_path / "wide.parquet"
    text = pa.array([f"{n:05d}" * 20 for n in range(50_000)])
    schema = pa.schema([("n", pa.int64()), *[(f"t{k}", pa.string()) for k in range(4)]])
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        table = pa.table([pa.array(range(50_000)), *[text] * 4], schema=schema)
        writer.write_table(pa.concat_tables([table] * 20), row_group_size=1_000_000)
    assert parquet.ParquetFile(path).num_row_groups == 1
    script = (
        "import sys, pathlib\n"
        "from cloister.records.files.parquet import ParquetStore\n"
        "store = ParquetStore(pathlib.Path(sys.argv[1]), 'wide')\n"
        "print(sum(batch.num_rows for batch in store.batches(('t0', 't1', 't2', 't3', 'n'))))\n"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"  # not the parent's
    )
    out = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True).stdout
    taken, peak_kib = map(int, out.split())
    assert taken == 1_000_000
    assert peak_kib < 300 * 1024
