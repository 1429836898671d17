# SPDX-License-Identifier: Apache-2.0
"""A Parquet file (https://parquet.apache.org/docs/file-format/), of which only the asked columns are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore, as_cells
from cloister.row_filter import RowFilter


class ParquetStore(FileStore):
    """The Parquet file at ``path``."""

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self._file() as file:
            return tuple(file.schema_arrow.names)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        first_row = 1
        with self._file() as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns), use_threads=False):
                arrays = [as_cells(batch.column(column), self, column, first_row) for column in columns]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                first_row += batch.num_rows

    @contextmanager
    def _file(self) -> Iterator[parquet.ParquetFile]:
        self.require_file()
        try:
            with parquet.ParquetFile(self.path) as file:
                yield file
        except (pa.ArrowException, OSError):
            hint = "it is cut off, damaged, encrypted or something else; export it again"
            raise RecordsError(f"`{self.shown}` is not a readable Parquet file", hint=hint) from None
