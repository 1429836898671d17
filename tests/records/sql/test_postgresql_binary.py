# SPDX-License-Identifier: Apache-2.0
"""The binary copy format, taken apart: what fits comes out as it was, and what does not fit is refused."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.sql.postgresql_binary import (
    SIGNATURE,
    Cells,
    as_bytes,
    as_dates,
    as_floats,
    as_moments,
    as_truth,
    as_whole_numbers,
    split_block,
    without_header,
)


def split(rows: list[bytes], columns: int) -> list[Cells]:
    return split_block(b"".join(rows), list(map(len, rows)), columns)


def row(*cells: bytes | None) -> bytes:
    fields = (b"\xff\xff\xff\xff" if cell is None else struct.pack(">i", len(cell)) + cell for cell in cells)
    return struct.pack(">h", len(cells)) + b"".join(fields)


@given(st.lists(st.tuples(*[st.none() | st.binary(max_size=20)] * 3), max_size=30))
def test_cells_of_any_size_come_out_as_they_went_in(rows: list[tuple[bytes | None, ...]]) -> None:
    columns = split([row(*cells) for cells in rows], 3)
    found = [as_bytes(cells) for cells in columns]
    for array in found:
        array.validate(full=True)
    assert list(zip(*(array.to_pylist() for array in found), strict=True)) == rows


@given(st.lists(st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.floats()), max_size=30))
def test_numbers_come_out_as_they_went_in(rows: list[tuple[int | None, float | None]]) -> None:
    packed = [
        row(
            b"odd"[: n % 4],
            None if whole is None else struct.pack(">q", whole),
            None if number is None else struct.pack(">d", number),
        )
        for n, (whole, number) in enumerate(rows)
    ]
    _, wholes, numbers = split(packed, 3)
    found = zip(as_whole_numbers(">i8")(wholes).to_pylist(), as_floats(">f8")(numbers).to_pylist(), strict=True)
    assert list(map(repr, found)) == list(map(repr, rows))


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\0",
        b"\0\1",
        row(b"abcd") + b"x",
        row(b"abcd")[:-1],
        row(b"abcd", b"abcd"),
        row(),
        b"\xff\xff",
        struct.pack(">hi", 1, 2**31 - 1) + b"abcd",
    ],
)
def test_a_row_that_does_not_fit_is_refused(odd: bytes) -> None:
    for rows in ([odd], [row(b"abcd"), odd], [odd, row(b"abcd")]):
        with pytest.raises(ValueError, match="is not in the binary copy format"):
            as_bytes(split(rows, 1)[0])


@pytest.mark.parametrize(
    "reader",
    [as_whole_numbers(">i4"), as_floats(">f8"), as_truth, as_dates, as_moments("UTC"), as_whole_numbers(">i2")],
)
def test_a_number_of_another_size_is_refused(reader: object) -> None:
    for cell in (b"", b"abc", b"abcde"):
        with pytest.raises(ValueError, match="is not in the binary copy format"):
            reader(split([row(cell)], 1)[0])  # type: ignore[operator]


def test_the_header() -> None:
    first = SIGNATURE + struct.pack(">ii", 0, 0) + row(b"x")
    assert without_header(first) == row(b"x")
    assert without_header(SIGNATURE + struct.pack(">ii", 0, 3) + b"abc" + row(b"x")) == row(b"x")
    for odd in (b"", b"PGCOPY", SIGNATURE, b"x" * 30):
        with pytest.raises(ValueError, match="is not in the binary copy format"):
            without_header(odd)


def test_nothing_at_all() -> None:
    (cells,) = split([], 1)
    assert as_bytes(cells) == pa.array([], pa.binary())
    assert as_dates(cells) == pa.array([], pa.date32())
