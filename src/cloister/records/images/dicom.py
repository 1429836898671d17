# SPDX-License-Identifier: Apache-2.0
"""A folder of DICOM files as a table: one row for each file, or for each series.

1. Columns are filled from headers, as the silo document says and the basic confidentiality profile allows
   (`cloister.records.images.confidentiality`), and from a CSV file beside the folder. Nothing else of a header is ever
   given.
2. A cell of the image column names the first file of a record. `read_image` decodes it, and all of its series.
3. Files that are no DICOM images, such as reports and directories, are left out and counted.
4. Files are told by their number in the folder, see `cloister.records.images.file_numbers`.
5. A picture that may have text burned in is refused when it is asked for, unless the silo document accepts those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pydicom.dataset import FileDataset

from cloister.errors import RecordsError
from cloister.records.files.csv import CsvStore
from cloister.records.images.confidentiality import check_field, may_have_text
from cloister.records.images.dicom_file import guarded, read_file
from cloister.records.images.dicom_series import Record, Survey, instances, series
from cloister.records.images.dicom_table import DicomTable
from cloister.records.images.dicom_volume import volume_of_file, volume_of_series
from cloister.records.images.file_numbers import FileNumbers, without_names
from cloister.records.images.image_folder import ImageFolder
from cloister.records.images.volume import Volume
from cloister.records.interface import BATCH_ROWS, Store
from cloister.row_filter import RowFilter
from cloister.silos import Column, ColumnKind, DicomConnector


class DicomStore(Store):
    """The folder that ``connector`` names.

    Args:
        connector: as the silo document has it.
        columns: as the dataset declares them.
        root: the federation's folder, where relative paths start.

    Attributes:
        survey: what the last `batches` came across, once its last batch was taken.

    Raises:
        RecordsError: where a column is filled from what may not fill it.
    """

    header_may_be_a_record = True

    def __init__(self, connector: DicomConnector, columns: dict[str, Column], root: Path) -> None:
        super().__init__(connector.path)
        self._connector = connector
        self._folder = ImageFolder(root / connector.path, connector.path)
        self._table = None
        if connector.table is not None and connector.key is not None:
            self._table = DicomTable(CsvStore(root / connector.table, connector.table), connector.key)
        self._numbers = FileNumbers(self._folder)
        self._series: dict[str, list[str]] | None = None
        self.survey = Survey()
        self._check(columns)

    def _check(self, columns: dict[str, Column]) -> None:
        for name, column in columns.items():
            if (column.kind is ColumnKind.IMAGE) is not (name == self._connector.image):
                hint = "a dicom store has one column of kind image, the one that `image` names"
                raise RecordsError(f"column `{name}` of `{self.shown}` is of kind {column.kind.value}", hint=hint)
            if name in self._connector.fields:
                check_field(name, column, self._connector.fields[name], self._connector.retain, self.shown)
        key = self._connector.key
        declared = columns.get(key.column) if key is not None else None
        if declared is not None and declared.kind is not ColumnKind.IDENTIFIER:
            name = key.column if key is not None else ""
            hint = "declare it as an identifier, or not at all"
            raise RecordsError(f"column `{name}` of `{self._connector.table}` is the key to its pictures", hint=hint)

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        self._folder.require()
        table = self._table.column_names() if self._table is not None else ()
        return (self._connector.image, *self._connector.fields, *table)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        try:
            yield from self._batches(columns)
        except RecordsError as error:
            raise self._told(error) from None

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self.survey = Survey()
        schema = pa.schema([(column, pa.string()) for column in columns])
        rows: list[list[str | None]] = []
        for row in self._rows(columns):
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                yield _batch(rows, schema)
                rows = []
        if rows:
            yield _batch(rows, schema)
        if not self.survey.files:
            raise self._nothing()

    def read_image(self, name: str) -> Volume:
        """See `Store.read_image`."""
        shown = self._folder.shown_file(name)
        try:
            with guarded(shown):
                return self._read_image(name, shown)
        except RecordsError as error:
            raise self._told(error) from None

    def _told(self, error: RecordsError) -> RecordsError:
        return without_names(error, self._folder, self._numbers.label, self._connector.table)

    def _read_image(self, name: str, shown: str) -> Volume:
        if self._connector.unit == "instance":
            file = read_file(self._folder.file(name), shown)
            self._check_text(file, shown)
            return volume_of_file(file, shown, self._connector.window)
        if self._series is None:
            self._series = {record.names[0]: record.names for record in series(self._folder, (), Survey())}
        if name not in self._series:
            raise RecordsError(f"`{shown}` is not the first file of a series")
        return volume_of_series(self._folder, self._series[name], self._connector.window, self._check_text)

    def _check_text(self, header: FileDataset, shown: str) -> None:
        if self._connector.burned_in == "refuse" and may_have_text(header):
            hint = "look at the pictures, and set `burned_in` to accept if there is nobody's name in them"
            raise RecordsError(f"`{shown}` may have text in its picture", hint=hint)

    def _rows(self, columns: Sequence[str]) -> Iterator[list[str | None]]:
        from_header = [name for name in columns if name in self._connector.fields]
        from_table = [name for name in columns if name not in self._connector.fields and name != self._connector.image]
        fields = [self._connector.fields[name] for name in from_header]
        rows = self._table.rows(from_table) if self._table is not None and from_table else {}
        key = self._table.key.field if rows and self._table is not None else None
        for record in self._records([*fields, *([key] if key is not None else [])]):
            cells: dict[str, str | None] = {self._connector.image: record.names[0]}
            cells.update(zip(from_header, record.cells, strict=False))
            found = rows.get(record.cells[-1] or "") if key is not None else None
            cells.update(zip(from_table, found or [None] * len(from_table), strict=True))
            yield [cells[name] for name in columns]

    def _records(self, fields: Sequence[str]) -> Iterable[Record]:
        if self._connector.unit == "instance":
            return instances(self._folder, fields, self.survey)
        found = series(self._folder, fields, self.survey)
        self._series = {record.names[0]: record.names for record in found}
        return found

    def _nothing(self) -> RecordsError:
        if not self.survey.others:
            return RecordsError(f"`{self.shown}` holds no files", hint="look at what the silo document names")
        count, other = self.survey.others, self._folder.shown_file(self.survey.other)
        return RecordsError(
            f"`{self.shown}` holds no DICOM images: {count} files are something else, such as `{other}`"
        )


def _batch(rows: Sequence[Sequence[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
