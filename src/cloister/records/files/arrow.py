# SPDX-License-Identifier: Apache-2.0
"""An Arrow IPC file or stream (https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc).

Which of the two a file is shows in its first bytes. One record batch of it, as it was written, is held in memory at
once, with the asked columns alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore, as_cells
from cloister.row_filter import RowFilter

_FILE = b"ARROW1\0\0"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class ArrowStore(FileStore):
    """The Arrow file or stream at ``path``."""

    read_by_arrow = True

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with self._reader() as (reader, _):
            return tuple(reader.schema.names)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        first_row = 1
        with self._reader(columns) as (reader, source):
            for whole in _record_batches(reader, source):
                cells = {column: _validated(whole.column(column)) for column in columns}
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    arrays = [
                        as_cells(each.slice(start, BATCH_ROWS), self, column, first_row)
                        for column, each in cells.items()
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                    first_row += len(arrays[0])

    @contextmanager
    def _reader(self, columns: Sequence[str] = ()) -> Iterator[tuple[Any, Any]]:
        """A reader of the file or stream, of ``columns`` only where there are any, and what it reads from."""
        self.require_file()
        try:
            # Not mapped into memory: a file that is cut short while it is mapped ends the process.
            with pa.OSFile(str(self.path)) as source:
                is_file = self._begins_as_file()
                opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
                if not is_file and not self._ends_as_stream():
                    raise OSError
                names = opened(source).schema.names
                source.seek(0)
                wanted = [names.index(column) for column in columns]
                options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=wanted)
                with opened(source, options=options) as reader:
                    yield reader, source
        except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError):
            hint = "it is cut off, damaged or something else; export it again, and close the writer at the end"
            raise RecordsError(f"`{self.shown}` is not a readable Arrow file or stream", hint=hint) from None

    def _begins_as_file(self) -> bool:
        with self.path.open("rb") as stream:
            return stream.read(len(_FILE)) == _FILE

    def _ends_as_stream(self) -> bool:
        """A stream that was cut off between two batches reads like a shorter one, but for the mark at its end."""
        with self.path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(_END_OF_STREAM)))
            return stream.read() == _END_OF_STREAM


def _record_batches(reader: Any, source: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
        return
    yield from reader
    if source.tell() != source.size():  # a damaged length can look like the end
        raise OSError


def _validated(cells: pa.Array) -> pa.Array:
    """``cells`` once their buffers are known to be sound: Arrow reads them as they come, and trusts what is in them.

    Text is looked at as bytes; whether it is UTF-8 is looked at, and said better, when it is made a cell.

    Raises:
        pyarrow.ArrowException: where they are not.
    """
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        cells = cells.cast(pa.binary() if pa.types.is_string(cells.type) else pa.large_binary())
    cells.validate(full=True)
    return cells
