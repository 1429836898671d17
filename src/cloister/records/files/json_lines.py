# SPDX-License-Identifier: Apache-2.0
"""A file with one JSON object per line, UTF-8 (https://jsonlines.org), each a row.

1. A name that a line lacks is a cell with nothing in it, as null is. The columns are the names of the first thousand
   lines.
2. Numbers are kept as they are written, so none is rounded on its way; `true` and `false` are those words. A list or an
   object in a cell is JSON in a text.
3. A line that is no object, says a name twice, or holds NaN, which JSON does not have, refuses the file, as does one
   that is too long or too deep: from there on nobody knows what its writer meant.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NoReturn

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, FileStore
from cloister.row_filter import RowFilter

_MAXIMUM_LINE_BYTES = 8 << 20
_BATCH_BYTES = 16 << 20
_MAXIMUM_DEPTH = 32
_LINES_FOR_NAMES = 1000
_BOM = b"\xef\xbb\xbf"

_Line = tuple[int, int, dict[str, Any]]
"""1-based number, bytes, and what it holds."""


class JsonLinesStore(FileStore):
    """The file at ``path``."""

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        with closing(self._lines()) as lines:
            found = dict.fromkeys(name for _, _, line in islice(lines, _LINES_FOR_NAMES) for name in line)
        if not found:
            raise RecordsError(f"`{self.shown}` has no line that names a column", hint="export it again")
        return tuple(filter(_is_text, found))

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        gathered: list[tuple[int, list[Any]]] = []
        held = 0
        with closing(self._lines()) as lines:
            for number, size, line in lines:
                gathered.append((number, [line.get(column) for column in columns]))
                held += size
                if len(gathered) == BATCH_ROWS or held > _BATCH_BYTES:
                    yield self._batch(columns, gathered)
                    gathered, held = [], 0
        if gathered:
            yield self._batch(columns, gathered)

    def _batch(self, columns: Sequence[str], lines: list[tuple[int, list[Any]]]) -> pa.RecordBatch:
        arrays = []
        for index, column in enumerate(columns):
            cells = [self._cell(row[index], column, number) for number, row in lines]
            try:
                arrays.append(pa.array(cells, pa.string()))
            except UnicodeEncodeError:
                number = next(lines[n][0] for n, cell in enumerate(cells) if cell is not None and not _is_text(cell))
                where = f"column `{column}` in line {number} of `{self.shown}`"
                hint = "export the file again as UTF-8"
                raise RecordsError(f"{where} holds half a surrogate pair, which is no text", hint=hint) from None
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _cell(self, value: Any, column: str, number: int) -> str | None:
        if value is None or isinstance(value, str):
            return value
        try:
            return _json(value, _MAXIMUM_DEPTH)
        except RecursionError:
            hint = f"at most {_MAXIMUM_DEPTH} levels are read"
            raise RecordsError(
                f"column `{column}` in line {number} of `{self.shown}` nests too deep", hint=hint
            ) from None

    def _lines(self) -> Generator[_Line, None, None]:
        self.require_file()
        try:
            with self.path.open("rb") as stream:
                number = 0
                while raw := stream.readline(_MAXIMUM_LINE_BYTES + 1):
                    number += 1
                    if len(raw) > _MAXIMUM_LINE_BYTES:
                        hint = "export one object per line"
                        limit = f"longer than {_MAXIMUM_LINE_BYTES >> 20} MiB"
                        raise RecordsError(f"line {number} of `{self.shown}` is {limit}", hint=hint)
                    if number == 1:
                        raw = raw.removeprefix(_BOM)
                    if raw.strip():
                        yield number, len(raw), self._object(raw, number)
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise RecordsError(f"`{self.shown}` cannot be read to its end: {reason}") from error

    def _object(self, raw: bytes, number: int) -> dict[str, Any]:
        what = "is not JSON"
        try:
            found = _DECODER.decode(raw.decode())
        except UnicodeDecodeError:
            what = "is not UTF-8"
        except _RefusedError as error:
            what = str(error)
        except RecursionError:
            what = "nests too deep"
        except ValueError:
            what = "is not UTF-8, but perhaps UTF-16" if b"\0" in raw else what
        else:
            if isinstance(found, dict):
                return found
            what = "is not a JSON object"
        hint = "export it again, one JSON object per line, as UTF-8"
        raise RecordsError(f"line {number} of `{self.shown}` {what}", hint=hint) from None


class _RefusedError(ValueError):
    """What Python's reader would let pass."""


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RefusedError("says a name twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise _RefusedError("holds a number that JSON does not have, such as NaN")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_of, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
)


def _json(value: Any, levels: int) -> str:
    """``value`` as JSON without white space, numbers as they were written.

    Raises:
        RecursionError: where it nests deeper than ``levels``.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, _Number):
        return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not levels:
        raise RecursionError
    if isinstance(value, list):
        return "[" + ",".join(_json(each, levels - 1) for each in value) + "]"
    pairs = (f"{json.dumps(name, ensure_ascii=False)}:{_json(each, levels - 1)}" for name, each in value.items())
    return "{" + ",".join(pairs) + "}"


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
