# SPDX-License-Identifier: Apache-2.0
"""A folder of NIfTI files, and a CSV file with a row for each record, whose cells name files in the folder.

A refusal names the row and not the file, see `cloister.records.images.file_numbers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.files.csv import CsvStore
from cloister.records.images.file_numbers import without_names
from cloister.records.images.image_folder import ImageFolder
from cloister.records.images.nifti_file import read_nifti
from cloister.records.images.volume import Volume
from cloister.records.interface import Store
from cloister.row_filter import RowFilter
from cloister.silos import Column, ColumnKind, NiftiConnector


class NiftiStore(Store):
    """The table and the folder that ``connector`` names.

    Args:
        connector: as the silo document has it.
        columns: as the dataset declares them.
        root: the federation's folder, where relative paths start.

    Raises:
        RecordsError: where no column is of kind image.
    """

    header_may_be_a_record = True

    def __init__(self, connector: NiftiConnector, columns: dict[str, Column], root: Path) -> None:
        super().__init__(connector.table)
        self._table = CsvStore(root / connector.table, connector.table)
        self._folder = ImageFolder(root / connector.path, connector.path)
        self._images = [name for name, column in columns.items() if column.kind is ColumnKind.IMAGE]
        self._rows: dict[str, int] | None = None
        if not self._images:
            hint = "declare the columns that hold names of files as of kind image"
            raise RecordsError(f"`{self.shown}` names no NIfTI files", hint=hint)

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        self._folder.require()
        return self._table.column_names()

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:
        """See `Store.batches`."""
        yield from self._table.batches(columns, where)
        self.left_out = self._table.left_out

    def read_image(self, name: str) -> Volume:
        """See `Store.read_image`."""
        try:
            return read_nifti(self._folder.file(name), self._folder.shown_file(name))
        except RecordsError as error:
            raise without_names(error, self._folder, self._label, self.shown) from None

    def _label(self, shown: str) -> str:
        """The row that names a file; the table is read once more when the first one is asked for."""
        if self._rows is None:
            self._rows = {}
            number = 0
            for batch in self._table.batches(self._images):
                for row in batch.to_pylist():
                    number += 1
                    for name in row.values():
                        self._rows.setdefault(self._folder.shown_file(name or ""), number)
        number = self._rows.get(shown, 0)
        return f"the image in row {number} of `{self.shown}`" if number else f"an image of `{self.shown}`"
