# SPDX-License-Identifier: Apache-2.0
"""What every connector is: a store that names its columns and streams some of them.

1. Only the columns asked for are read; the projection is made by the store, not after it.
2. A cell arrives as text, as a number, truth value, date or moment of Arrow's, or null. What the silo document declares
   of it is looked at afterwards, in `cloister.records.schema`, for all stores alike. An image arrives as text that
   names it.
3. Bytes that are not UTF-8 are a mistake of the whole file, such as a wrong export, and not of one row: they refuse
   the store, with the row where the reader knows it.
4. A store may leave out rows that a filter stops, and counts them; it need not. What it gives is filtered again, so a
   store that cannot tell gives the row.
5. No message holds the content of a record; what a library says about a record is dropped, not passed on.
"""

from __future__ import annotations

import difflib
import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.images.volume import Volume
from cloister.row_filter import RowFilter

BATCH_ROWS = 16_384
"""The most rows of one batch: memory grows with it, and the time per row shrinks."""


class Store(ABC):
    """One table of records, opened anew for every use.

    Attributes:
        shown: how the silo document names it, for messages.
        left_out: rows that the last `batches` did not give because the filter stops them.
        header_may_be_a_record: column names are a file's first line, which may be a record where somebody forgot a
            header; so no message repeats them.
        read_by_arrow: batches come from Arrow's own code, which leaves Python to others meanwhile; where they do not,
            two threads would only wait for each other.
    """

    read_by_arrow: ClassVar[bool] = False
    header_may_be_a_record: ClassVar[bool] = False

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.left_out = 0

    @abstractmethod
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the store's order; no record is read.

        Raises:
            RecordsError: where the store cannot be read as what it should be.
        """

    @abstractmethod
    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:
        """The store's rows, with ``columns`` only, in that order.

        Args:
            columns: each once; those that ``where`` looks at are among them.
            where: rows that it does not let through may be left out; `left_out` is right once the last batch was taken.

        Raises:
            RecordsError: where a column is missing or the store breaks off.
        """

    def read_image(self, name: str) -> Volume:
        """The image that a cell names.

        Raises:
            RecordsError: where there is none of that name, or it is not what it should be.
        """
        del name
        raise RecordsError(f"`{self.shown}` holds no images", hint="images lie in stores of kind `dicom` or `nifti`")

    def require_columns(self, names: Iterable[str], *, among: Iterable[str] | None = None) -> None:
        """Check that the store has each of ``names`` exactly once.

        Args:
            names: of columns.
            among: the store's own, where they are known already.

        Raises:
            RecordsError: naming the store, the column and the nearest that there is, where that is surely a name.
        """
        present = Counter(iter(self.column_names() if among is None else among))
        for name in names:
            if not present[name]:
                raise RecordsError(f"`{self.shown}` has no column `{name}`", hint=self._hint(name, present))
            if present[name] > 1:
                raise RecordsError(f"`{self.shown}` has {present[name]} columns called `{name}`", hint="keep one")

    def _hint(self, name: str, present: Iterable[str]) -> str:
        if self.header_may_be_a_record:
            return "the file's first line must name the columns as the silo document does, with commas between them"
        near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
        return f"nearest is `{near[0]}`" if near else "the silo document and the file must agree"


def require_inside(path: Path, folder: Path, shown: str) -> None:
    """Check that ``path``, an entry of ``folder``, does not lead out of it.

    Whoever may write into a folder could else have any file that the site can read taken for a part of it.

    Args:
        path: the entry.
        folder: in which it is.
        shown: what messages call the entry.

    Raises:
        RecordsError: where it is a link to somewhere else.
    """
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError):  # it is gone, or a link leads to itself
        raise RecordsError(f"{shown} cannot be opened") from None
    if not inside:
        raise RecordsError(f"{shown} leads out of its folder", hint="copy the file there instead of linking it")


class FileStore(Store):
    """A store that is one file.

    Attributes:
        path: where it lies.
    """

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(shown)
        self.path = path

    def require_file(self) -> None:
        """Check that a regular file lies at the path and can be opened.

        Raises:
            RecordsError: naming the file and what is wrong.
        """
        if self.path.is_dir():
            raise RecordsError(f"`{self.shown}` is a folder, not a file", hint="name the file in the silo document")
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # a pipe would be waited for
                raise RecordsError(f"`{self.shown}` is not a file", hint="name the file in the silo document")
            with self.path.open("rb") as stream:
                empty = not stream.read(1)
        except FileNotFoundError as error:
            hint = "paths in a silo document start at the federation's folder"
            raise RecordsError(f"`{self.shown}` does not exist", hint=hint) from error
        except OSError as error:
            raise RecordsError(
                f"`{self.shown}` cannot be opened: {(error.strerror or 'no reason given').lower()}"
            ) from error
        if empty:
            raise RecordsError(f"`{self.shown}` is an empty file", hint="export it again")


def as_cells(array: pa.Array, store: Store, column: str, first_row: int) -> pa.Array:
    """One column's cells as a store may give them: text is checked to be UTF-8, numbers, dates and the like are kept.

    Args:
        array: a column as a library read it.
        store: for messages.
        column: its name, for messages.
        first_row: 1-based number of the first cell's row, for messages.

    Raises:
        RecordsError: where the cells are lists, structures or the like, or text that is not UTF-8.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return as_cells(array.dictionary_decode(), store, column, first_row)
    if any(check(kind) for check in _SCALARS):
        return array
    if not is_textual(kind):
        raise RecordsError(
            f"column `{column}` of `{store.shown}` holds `{kind}`, which is no single value",
            hint="export it as text, or as JSON in a text",
        )
    raw = array.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        row = first_row + _first_not_utf8(raw)
        raise not_utf8(store, column, row) from None


_SCALARS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_null,
)


def is_textual(kind: pa.DataType) -> bool:
    """Whether cells of type ``kind`` are text or bytes."""
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(check(kind) for check in checks)


def not_utf8(store: Store, column: str, row: int) -> RecordsError:
    """The refusal of cells that are not UTF-8; ``row`` is 1-based and does not count a header."""
    return RecordsError(
        f"column `{column}` of `{store.shown}` is not UTF-8 in row {row}", hint="export the file again as UTF-8"
    )


def _first_not_utf8(raw: pa.Array) -> int:
    for index, value in enumerate(raw.to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return index
    return 0
