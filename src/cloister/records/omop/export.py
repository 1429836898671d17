# SPDX-License-Identifier: Apache-2.0
"""A CSV export of an OMOP database: a folder, or a zip archive, with one file per table.

File names and column names count in any case. What is unpacked goes into files that have no name, so nothing of the
records is left on the disk however the process ends.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.files.csv import CsvStore
from cloister.records.interface import require_inside

_HEAD_BYTES = 128 << 10
_COPY_BYTES = 1 << 20
_HINT = "name a folder with one CSV file per table, or a zip archive of it"

# Exports shrink to a tenth or so; zip could make a thousandth of nothing much (https://zlib.net/zlib_tech.html).
_LARGEST_RATIO = 100
_FREE_BYTES = 16 << 20


class OmopExport:
    """The export at ``path``.

    Attributes:
        shown: how the silo document names it, for messages.
        path: where it lies.
    """

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown

    def headers(self, tables: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Names of the columns of those of ``tables`` that are there, in lower case.

        Raises:
            RecordsError: where the export, or one of the files, cannot be read as what it should be.
        """
        found = {}
        with self._files() as files:
            for table in tables:
                if table in files:
                    with files.opened(table, _HEAD_BYTES) as store:
                        found[table] = tuple(name.lower() for name in store.column_names())
        return found

    @contextmanager
    def table(self, table: str, columns: Sequence[str]) -> Iterator[tuple[CsvStore, Iterator[pa.RecordBatch]]]:
        """One table's rows, ``columns`` only; cells are text, and empty ones are null.

        Args:
            table: name of the table, in lower case; it is there.
            columns: names of its columns, in lower case, which the batches bear.

        Raises:
            RecordsError: where the file is missing or breaks off.
        """
        with self._files() as files, files.opened(table) as store:
            written = {name.lower(): name for name in store.column_names()}
            batches = store.batches([written[column] for column in columns])
            yield store, (_with_nulls(batch, columns) for batch in batches)

    @contextmanager
    def _files(self) -> Iterator[_Files]:
        if self.path.is_dir():
            yield _Folder(self.path, self.shown)
            return
        if self.path.exists() and not self.path.is_file():  # a pipe would be waited for
            raise RecordsError(f"`{self.shown}` is neither a folder nor a file", hint=_HINT)
        if not self.path.exists():
            hint = "paths in a silo document start at the federation's folder"
            raise RecordsError(f"`{self.shown}` does not exist", hint=hint)
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield _Archive(archive, self.shown)
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise RecordsError(f"`{self.shown}` cannot be opened: {reason}") from error
        except zipfile.BadZipFile:
            raise RecordsError(f"`{self.shown}` is not a readable zip archive", hint=_HINT) from None


class _Files(ABC):
    """The files of an export by the tables that they hold."""

    def __init__(self, shown: str, names: Sequence[str]) -> None:
        self.shown = shown
        self.names: dict[str, str] = {}
        for name in names:
            place = PurePosixPath(name)
            # Resource forks of macOS, `__MACOSX/._PERSON.csv`, are named like the files that they belong to.
            if place.suffix.lower() != ".csv" or place.name.startswith(".") or "__MACOSX" in place.parts:
                continue
            table = place.stem.lower()
            if table in self.names:
                raise RecordsError(f"`{shown}` has two files for the table `{table}`", hint="keep one")
            self.names[table] = name

    def __contains__(self, table: str) -> bool:
        return table in self.names

    @abstractmethod
    def opened(self, table: str, maximum_bytes: int | None = None) -> AbstractContextManager[CsvStore]:
        """The file of ``table`` as a store; of a packed one at most the first ``maximum_bytes``."""


class _Folder(_Files):
    def __init__(self, path: Path, shown: str) -> None:
        try:
            names = sorted(each.name for each in path.iterdir())
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise RecordsError(f"`{shown}` cannot be opened: {reason}") from error
        super().__init__(shown, names)
        self.path = path

    @contextmanager
    def opened(self, table: str, maximum_bytes: int | None = None) -> Iterator[CsvStore]:
        """See `_Files.opened`."""
        del maximum_bytes
        name = self.names[table]
        shown = f"{self.shown}/{name}"
        require_inside(self.path / name, self.path, f"`{shown}`")
        yield CsvStore(self.path / name, shown)


class _Archive(_Files):
    def __init__(self, archive: zipfile.ZipFile, shown: str) -> None:
        super().__init__(shown, archive.namelist())
        self.archive = archive

    @contextmanager
    def opened(self, table: str, maximum_bytes: int | None = None) -> Iterator[CsvStore]:
        """See `_Files.opened`."""
        name = self.names[table]
        shown = f"{self.shown}/{name}"
        packed_as = self.archive.getinfo(name)
        if packed_as.file_size > _FREE_BYTES + _LARGEST_RATIO * packed_as.compress_size:
            # No more than it says is ever unpacked.
            raise RecordsError(
                f"`{shown}` unpacks to over {_LARGEST_RATIO} times its size", hint="pack the export again"
            )
        with tempfile.TemporaryFile() as unpacked:
            try:
                with self.archive.open(name) as packed:
                    _copy(packed, unpacked, maximum_bytes)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
                hint = "pack the export again, without a password"
                raise RecordsError(f"`{shown}` cannot be unpacked", hint=hint) from None
            unpacked.flush()
            yield CsvStore(Path(f"/proc/self/fd/{unpacked.fileno()}"), shown)


def _copy(source: IO[bytes], target: IO[bytes], maximum_bytes: int | None) -> None:
    if maximum_bytes is None:
        shutil.copyfileobj(source, target, _COPY_BYTES)
    else:
        target.write(source.read(maximum_bytes))


def _with_nulls(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    cells = [pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(cells, names=list(columns))
