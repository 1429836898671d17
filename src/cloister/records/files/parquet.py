# SPDX-License-Identifier: Apache-2.0
"""A Parquet file (https://parquet.apache.org/docs/file-format/), of which only the asked columns are decoded.

A row group in which no row can pass the filter, by the smallest and largest values that the file states for it, is
never read. The others are read page by page, so memory depends on their dictionaries and not on how long they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.records.files.filter_bounds import Bounds, can_pass
from cloister.records.interface import BATCH_ROWS, FileStore, as_cells
from cloister.row_filter import RowFilter, columns_of

_BUFFER_BYTES = 1 << 20
"""Read at once of each column."""

_Run = tuple[int, list[int], int]
"""1-based number of the first row, row groups that follow one another, and how many rows they hold."""


class ParquetStore(FileStore):
    """The Parquet file at ``path``."""

    read_by_arrow = True

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self._file() as file:
            return tuple(file.schema_arrow.names)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:
        """See `Store.batches`."""
        self.require_columns(columns)
        self.left_out = 0
        with self._file() as file:
            for first_row, groups, rows in self._runs(file, where):
                row = first_row
                reader = file.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=False)
                for batch in reader:
                    arrays = [as_cells(batch.column(column), self, column, row) for column in columns]
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                    row += batch.num_rows
                if row != first_row + rows:
                    raise OSError

    def _runs(self, file: parquet.ParquetFile, where: RowFilter | None) -> Iterator[_Run]:
        """Row groups to be read; those next to each other together, because some files have very many."""
        stated = _Stated(file, () if where is None else columns_of(where))
        first_row, groups, rows = 1, list[int](), 0
        for group in range(file.metadata.num_row_groups):
            more = file.metadata.row_group(group).num_rows
            if where is None or can_pass(where, stated.bounds(group)):
                groups.append(group)
                rows += more
                continue
            if groups:
                yield first_row, groups, rows
            first_row, groups, rows = first_row + rows + more, [], 0
            self.left_out += more
        if groups:
            yield first_row, groups, rows

    @contextmanager
    def _file(self) -> Iterator[parquet.ParquetFile]:
        self.require_file()
        try:
            # Without `pre_buffer` and with a buffer of its own each column's pages are read as they are needed. Moments
            # as Spark and Impala write them would be nanoseconds, in which 9999-12-31 is a day of 1816.
            with parquet.ParquetFile(
                self.path,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit="us",
            ) as file:
                yield file
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            hint = "it is cut off, damaged, encrypted or something else; export it again"
            raise RecordsError(f"`{self.shown}` is not a readable Parquet file", hint=hint) from None


class _Stated:
    """Bounds that a file states for some of its columns.

    Only of types that come through the schema with the same value: `cloister.records.schema` may make a date of a
    moment, and what the library says of unsigned and decimal numbers depends on who wrote them.
    """

    def __init__(self, file: parquet.ParquetFile, columns: Sequence[str]) -> None:
        self._file = file
        leaves = {file.schema.column(index).path: index for index in range(len(file.schema))} if columns else {}
        fields = {name: file.schema_arrow.field(name).type for name in columns}
        self._leaves = {name: leaves[name] for name, kind in fields.items() if name in leaves and _is_kept(kind)}

    def bounds(self, group: int) -> dict[str, Bounds]:
        """What is known of the columns in row group ``group``."""
        metadata = self._file.metadata.row_group(group)
        found = {name: _bounds_of(metadata.column(leaf)) for name, leaf in self._leaves.items()}
        return {name: bounds for name, bounds in found.items() if bounds is not None}


def _is_kept(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_kept(kind.value_type)
    if pa.types.is_timestamp(kind):
        return kind.unit in ("ms", "us")
    checks = (
        pa.types.is_signed_integer,
        pa.types.is_float32,
        pa.types.is_float64,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_date32,
    )
    return any(check(kind) for check in checks)


def _bounds_of(column: Any) -> Bounds | None:
    statistics = column.statistics
    if statistics is None:
        return None
    if statistics.has_null_count and statistics.null_count == column.num_values:
        return Bounds(nothing=True)
    if not statistics.has_min_max:
        return None
    try:
        bounds = [_plain(statistics.min), _plain(statistics.max)]
    except (pa.ArrowException, ValueError, OverflowError):  # text cut within a character, a year beyond 9999
        return None
    if any(isinstance(bound, float) and math.isnan(bound) for bound in bounds):
        return None
    least, greatest = bounds
    # A large whole number may become a float of `number`, which is a little below or above it.
    return Bounds(_below(least), _above(greatest))


def _plain(bound: Any) -> Any:
    if isinstance(bound, datetime):
        return bound.replace(tzinfo=UTC) if bound.tzinfo is None else bound
    return bound


def _below(bound: Any) -> Any:
    return min(bound, float(bound)) if type(bound) is int else bound


def _above(bound: Any) -> Any:
    return max(bound, float(bound)) if type(bound) is int else bound
