# SPDX-License-Identifier: Apache-2.0
"""What a site brings: its datasets, base models and capacity (`silos/*.yaml`)."""

from cloister.silos.columns import FEATURE_KINDS, Column, ColumnKind
from cloister.silos.connectors import (
    ArrowConnector,
    Connector,
    CsvConnector,
    JsonLinesConnector,
    ParquetConnector,
    SqliteConnector,
)
from cloister.silos.database import PasswordPlace, PostgresqlConnector, PostgresqlDatabase
from cloister.silos.fhir import FhirConnector, FhirField
from cloister.silos.imaging import DicomConnector, NiftiConnector, TableKey, Window
from cloister.silos.model import BaseModelPlace, Capacity, Dataset, Silo
from cloister.silos.omop import OmopConnector

__all__ = [
    "FEATURE_KINDS",
    "ArrowConnector",
    "BaseModelPlace",
    "Capacity",
    "Column",
    "ColumnKind",
    "Connector",
    "CsvConnector",
    "Dataset",
    "DicomConnector",
    "FhirConnector",
    "FhirField",
    "JsonLinesConnector",
    "NiftiConnector",
    "OmopConnector",
    "ParquetConnector",
    "PasswordPlace",
    "PostgresqlConnector",
    "PostgresqlDatabase",
    "Silo",
    "SqliteConnector",
    "TableKey",
    "Window",
]
