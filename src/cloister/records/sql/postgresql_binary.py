# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL's binary copy format to Arrow, many rows at once.

The format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY. Each row has a 16-bit
count of fields, and for each field a 32-bit count of bytes, -1 for null, and the bytes; everything is big-endian.
Values come as the server holds them: nothing is rounded, and no setting of date or number styles is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
END = b"\xff\xff"
"""The last row's stead: a count of -1 fields."""

ODD = "is not in the binary copy format"
_MICROSECONDS = 86_400 * 1_000_000
_EPOCH = 10_957  # days from 1970-01-01, where Arrow's begin, to 2000-01-01, where PostgreSQL's do
_FIRST, _AFTER = -719_162 - _EPOCH, 2_932_897 - _EPOCH  # 0001-01-01 and the day after 9999-12-31
_OUTSIDE = "beyond the years 1 to 9999"

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


def without_header(piece: bytes) -> bytes:
    """The first piece of a copy, without the file's header.

    Raises:
        ValueError: where there is none.
    """
    start = len(SIGNATURE) + 8
    if piece[: len(SIGNATURE)] != SIGNATURE or len(piece) < start:
        raise ValueError(ODD)
    return piece[start + int.from_bytes(piece[start - 4 : start], "big") :]


class Cells:
    """One column's cells in a block of rows.

    Attributes:
        block: bytes of all rows.
        begins: where each cell's bytes begin, shape (rows,).
        sizes: how many bytes each cell has; 0 where null.
        present: whether there is anything.
    """

    def __init__(self, block: bytes | bytearray, begins: Ints, sizes: Ints) -> None:
        self.block = block
        self.begins = begins
        self.present: Bits = sizes >= 0
        self.sizes = np.maximum(sizes, 0)

    def fixed(self, kind: str) -> npt.NDArray[Any]:
        """Cells of one size, as NumPy's ``kind``, such as `>i4`; null ones hold anything.

        Raises:
            ValueError: where a cell has another size.
        """
        width = np.dtype(kind).itemsize
        if (self.sizes[self.present] != width).any():
            raise ValueError(ODD)
        return _gathered(self.block, np.where(self.present, self.begins, 0), kind)

    @property
    def mask(self) -> Bits | None:
        """Where there is nothing; None where there is something everywhere."""
        return None if self.present.all() else ~self.present


def split_block(content: bytes | bytearray, sizes: Sequence[int], columns: int) -> list[Cells]:
    """The cells of rows, column by column.

    Args:
        content: the rows, one after the other.
        sizes: bytes of each row.
        columns: fields of each.

    Raises:
        ValueError: where a row does not hold just that many fields.
    """
    block = content + bytes(8)  # so that a cell of any fixed size can be read from anywhere
    lengths = np.array(sizes, np.int64)
    ends = np.cumsum(lengths)
    at = ends - lengths
    if (_gathered(block, at, ">i2") != columns).any():
        raise ValueError(ODD)
    at = at + 2
    found = []
    for _ in range(columns):
        if (at > ends).any():
            raise ValueError(ODD)
        cells = Cells(block, at + 4, _gathered(block, at, ">i4").astype(np.int64))
        at = cells.begins + cells.sizes
        found.append(cells)
    if (at != ends).any():
        raise ValueError(ODD)
    return found


def _gathered(block: bytes | bytearray, at: Ints, kind: str) -> npt.NDArray[Any]:
    """The numbers of ``kind`` that begin at the offsets ``at``, aligned or not."""
    everywhere = np.ndarray((max(len(block) - np.dtype(kind).itemsize + 1, 0),), kind, block, strides=(1,))
    return everywhere[at]


def as_bytes(cells: Cells) -> pa.BinaryArray:
    """Cells of any size, as they are."""
    count = len(cells.begins)
    # Cells and what lies between them are slices of one buffer, of which every other one is wanted.
    edges = np.empty(2 * count + 1, np.int32)
    edges[0:-1:2] = cells.begins
    edges[1::2] = cells.begins + cells.sizes
    edges[-1] = edges[-2] if count else 0
    wanted = np.arange(0, 2 * count, 2)
    slices = pa.Array.from_buffers(pa.binary(), 2 * count, [None, pa.py_buffer(edges), pa.py_buffer(cells.block)])
    values = slices.take(pa.array(wanted))
    return values if cells.mask is None else pc.if_else(pa.array(cells.present), values, pa.scalar(None, pa.binary()))


def as_whole_numbers(kind: str) -> Callable[[Cells], pa.Array]:
    """A reader of cells of ``kind``, such as `>i4`."""
    return lambda cells: pa.array(cells.fixed(kind).astype(np.int64), pa.int64(), mask=cells.mask)


def as_floats(kind: str) -> Callable[[Cells], pa.Array]:
    """A reader of cells of ``kind``, `>f4` or `>f8`."""
    return lambda cells: pa.array(cells.fixed(kind).astype(np.float64), pa.float64(), mask=cells.mask)


def as_truth(cells: Cells) -> pa.Array:
    """Cells that are true or false."""
    return pa.array(cells.fixed(">u1") != 0, pa.bool_(), mask=cells.mask)


def as_dates(cells: Cells) -> pa.Array:
    """Days; text where one of them is infinite or has no year from 1 to 9999, which no date in ISO 8601 has."""
    return _days_or_moments(cells, cells.fixed(">i4"), 1, pa.date32())


def as_moments(zone: str | None) -> Callable[[Cells], pa.Array]:
    """A reader of moments to the microsecond, with the zone `UTC` or without one; text as in `as_dates`."""
    return lambda cells: _days_or_moments(cells, cells.fixed(">i8"), _MICROSECONDS, pa.timestamp("us", tz=zone))


def _days_or_moments(cells: Cells, since: npt.NDArray[Any], day: int, kind: pa.DataType) -> pa.Array:
    values = since.astype(np.int64)
    inside = cells.present & (values >= _FIRST * day) & (values < _AFTER * day)
    storage = pa.int32() if day == 1 else pa.int64()
    numbers = np.where(inside, values, 0) + _EPOCH * day
    array = pa.array(numbers, pa.int64(), mask=None if inside.all() else ~inside).cast(storage).cast(kind)
    if (inside == cells.present).all():
        return array
    return pc.if_else(pa.array(cells.present & ~inside), _OUTSIDE, array.cast(pa.string()))
