# SPDX-License-Identifier: Apache-2.0
"""From a dataset's declaration to the store that holds it."""

from __future__ import annotations

from pathlib import Path

from cloister.records.arrow import ArrowStore
from cloister.records.csv import CsvStore
from cloister.records.dicom import DicomStore
from cloister.records.fhir import FhirStore
from cloister.records.interface import FileStore, Store
from cloister.records.json_lines import JsonLinesStore
from cloister.records.nifti import NiftiStore
from cloister.records.parquet import ParquetStore
from cloister.records.sqlite import SqliteStore
from cloister.silos import (
    ArrowConnector,
    CsvConnector,
    Dataset,
    DicomConnector,
    FhirConnector,
    JsonLinesConnector,
    NiftiConnector,
    ParquetConnector,
    SqliteConnector,
)

_FILES: dict[type, type[FileStore]] = {
    ArrowConnector: ArrowStore,
    CsvConnector: CsvStore,
    JsonLinesConnector: JsonLinesStore,
    ParquetConnector: ParquetStore,
}
"""Stores of which all that the silo document says is where they lie."""


def open_store(dataset: Dataset, *, root: Path) -> Store:
    """The store of ``dataset``, once it is known to have every column that the dataset declares.

    Args:
        dataset: as the silo document declares it.
        root: the federation's folder, where relative paths start.

    Raises:
        RecordsError: where the store is missing, unreadable, or lacks a declared column.
    """
    connector = dataset.connector
    path = root / connector.path
    store: Store
    if isinstance(connector, SqliteConnector):
        store = SqliteStore(path, connector.path, connector.table)
    elif isinstance(connector, DicomConnector):
        store = DicomStore(connector, dataset.columns, root)
    elif isinstance(connector, NiftiConnector):
        store = NiftiStore(connector, dataset.columns, root)
    elif isinstance(connector, FhirConnector):
        store = FhirStore(path, connector)
    else:
        store = _FILES[type(connector)](path, connector.path)
    store.require_columns(dataset.columns)
    return store
