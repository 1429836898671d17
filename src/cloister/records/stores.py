# SPDX-License-Identifier: Apache-2.0
"""From a dataset's declaration to the store that holds it."""

from __future__ import annotations

from pathlib import Path

from cloister.records.files.arrow import ArrowStore
from cloister.records.files.csv import CsvStore
from cloister.records.files.json_lines import JsonLinesStore
from cloister.records.files.parquet import ParquetStore
from cloister.records.interface import FileStore, Store
from cloister.silos import (
    ArrowConnector,
    CsvConnector,
    Dataset,
    DicomConnector,
    FhirConnector,
    JsonLinesConnector,
    NiftiConnector,
    OmopConnector,
    ParquetConnector,
    PostgresqlConnector,
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
    store = store_of(dataset, root=root)
    store.require_columns(dataset.columns)
    return store


def store_of(dataset: Dataset, *, root: Path) -> Store:  # noqa: PLR0911 - one per kind
    """The store of ``dataset``, whatever columns it has; see `open_store`."""
    # Libraries of databases and of images take up to 70 MB and half a second, and most datasets need one of them.
    connector = dataset.connector
    if isinstance(connector, PostgresqlConnector):
        from cloister.records.sql.postgresql import PostgresqlStore  # noqa: PLC0415

        return PostgresqlStore(connector, dataset.columns, root)
    if isinstance(connector, OmopConnector):
        from cloister.records.omop.store import OmopStore  # noqa: PLC0415

        return OmopStore.at(connector, root)
    path = root / connector.path
    if isinstance(connector, SqliteConnector):
        from cloister.records.sql.sqlite import SqliteStore  # noqa: PLC0415

        return SqliteStore(path, connector.path, connector.table, dataset.columns)
    if isinstance(connector, DicomConnector):
        from cloister.records.images.dicom import DicomStore  # noqa: PLC0415

        return DicomStore(connector, dataset.columns, root)
    if isinstance(connector, NiftiConnector):
        from cloister.records.images.nifti import NiftiStore  # noqa: PLC0415

        return NiftiStore(connector, dataset.columns, root)
    if isinstance(connector, FhirConnector):
        from cloister.records.fhir.store import FhirStore  # noqa: PLC0415

        return FhirStore(path, connector)
    return _FILES[type(connector)](path, connector.path)
