# SPDX-License-Identifier: Apache-2.0
"""A CSV file with a header line, UTF-8, commas, fields in double quotes where needed (RFC 4180)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore, as_cells
from cloister.row_filter import RowFilter

# A row that is longer than a block cannot be read. pyarrow reads up to 32 blocks ahead, which bounds memory.
_BLOCK_BYTES = 1 << 20
_MAXIMUM_HEADER_BYTES = _BLOCK_BYTES
_RAGGED = re.compile(r"CSV parse error: Row #([0-9]+): Expected ([0-9]+) columns, got ([0-9]+)")


class CsvStore(FileStore):
    """The CSV file at ``path``.

    A row with too few or too many fields, and a quote that is never closed, refuse the file: from there on no cell is
    sure to stand in its column.
    """

    header_may_be_a_record = True

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        self.require_file()
        with self.path.open("rb") as stream:
            head = stream.read(_MAXIMUM_HEADER_BYTES)
        if len(head) == _MAXIMUM_HEADER_BYTES and not re.search(rb"[\r\n]", head):
            hint = "the first line must name the columns"
            raise RecordsError(f"`{self.shown}` has a header line longer than {_BLOCK_BYTES >> 20} MiB", hint=hint)
        text = head.decode("utf-8-sig", errors="replace")  # rows that follow may be cut; only the first one counts
        try:
            names = next((row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row), [])
        except csv.Error:
            names = []
        if not names or {"\0", "\ufffd"} & set("".join(names)):  # UTF-16 without its mark looks like text full of NULs
            hint = "the first line must name the columns, in UTF-8, with commas between them"
            raise RecordsError(f"`{self.shown}` has no readable header line", hint=hint)
        return tuple(names)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        first_row = 1
        with self._reader(columns) as reader:
            for block in reader:
                for start in range(0, block.num_rows, BATCH_ROWS):
                    batch = block.slice(start, BATCH_ROWS)
                    arrays = [as_cells(batch.column(column), self, column, first_row) for column in columns]
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                    first_row += batch.num_rows

    @contextmanager
    def _reader(self, columns: Sequence[str]) -> Iterator[Any]:
        try:
            with _QuoteCounter(self.path) as stream:
                if not self._has_rows():  # pyarrow takes a header line without an end for a broken file
                    yield ()
                    return
                yield arrow_csv.open_csv(stream, **_options(columns))
                if stream.quotes % 2:
                    hint = "fields with a quote inside are quoted, and the quote is doubled (RFC 4180)"
                    raise RecordsError(f"`{self.shown}` opens a double quote that it never closes", hint=hint)
        except (pa.ArrowException, OSError) as error:
            what = _ragged(error) or f"a row is longer than {_BLOCK_BYTES >> 20} MiB, or a quote is never closed"
            raise RecordsError(f"`{self.shown}` is not a readable CSV file: {what}", hint="export it again") from None

    def _has_rows(self) -> bool:
        with self.path.open(encoding="latin-1") as stream:  # any line ending, and no byte is refused
            stream.readline(_MAXIMUM_HEADER_BYTES)
            return bool(stream.read(1))


class _QuoteCounter(io.FileIO):
    """Counts double quotes as they pass: in RFC 4180 their number is even, and pyarrow does not look."""

    quotes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(-1 if size is None else size) or b""
        self.quotes += piece.count(b'"')
        return piece


def _ragged(error: Exception) -> str | None:
    """The numbers in what pyarrow says of a row with too few or too many fields; the row itself follows them there.

    pyarrow would tell a handler as well, but not of a row that is no UTF-8.
    """
    found = _RAGGED.match(str(error))
    return f"row {int(found[1]) - 1} has {found[3]} fields, the header {found[2]}" if found else None


def _options(columns: Sequence[str]) -> dict[str, Any]:
    return {
        # One thread, because only then are rows numbered.
        "read_options": arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        "parse_options": arrow_csv.ParseOptions(newlines_in_values=True),
        "convert_options": arrow_csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, pa.binary()), check_utf8=False
        ),
    }
