# SPDX-License-Identifier: Apache-2.0
"""The CSV file beside a folder of DICOM files: more columns, such as labels, for the pictures that its rows name.

It is held in memory, with the columns that are asked for: it is as long as there are pictures, and narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloister.errors import RecordsError
from cloister.records.files.csv import CsvStore
from cloister.silos import TableKey

Row = tuple[str | None, ...]


class DicomTable:
    """The rows of ``store``, by their key.

    Args:
        store: the file.
        key: which column holds the key, and which field of the header must be the same.
    """

    def __init__(self, store: CsvStore, key: TableKey) -> None:
        self._store = store
        self.key = key

    def column_names(self) -> tuple[str, ...]:
        """Names of its columns, the key among them.

        Raises:
            RecordsError: where it has no readable header line.
        """
        return self._store.column_names()

    def rows(self, columns: Sequence[str]) -> dict[str, Row]:
        """The cells of ``columns`` of each row, by key; rows without a key are left out.

        Raises:
            RecordsError: where the file cannot be read, or two rows have one key.
        """
        read = dict.fromkeys([self.key.column, *columns])
        found: dict[str, Row] = {}
        number = 0
        for batch in self._store.batches(list(read)):
            keys = batch.column(self.key.column).to_pylist()
            cells = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            for key, row in zip(keys, cells if columns else [()] * len(keys), strict=True):
                number += 1
                clean = (key or "").strip()
                if clean in found:
                    where = f"column `{self.key.column}` of `{self._store.shown}`"
                    raise RecordsError(f"{where} has in row {number} what an earlier row has", hint="keep one of them")
                if clean:
                    found[clean] = row
        return found
