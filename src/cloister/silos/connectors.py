# SPDX-License-Identifier: Apache-2.0
"""Where a dataset's records lie: one model per kind of store, told apart by `kind`.

Paths are relative to the federation's folder, or absolute. No document holds a password: it names where one is found.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cloister.documents import Model
from cloister.names import ColumnName
from cloister.silos.database import PostgresqlConnector
from cloister.silos.fhir import FhirConnector
from cloister.silos.imaging import DicomConnector, NiftiConnector
from cloister.silos.omop import OmopConnector
from cloister.silos.paths import PathText


class SqliteConnector(Model):
    """A table of an SQLite database."""

    kind: Literal["sqlite"]
    path: PathText
    table: ColumnName


class ParquetConnector(Model):
    """A Parquet file."""

    kind: Literal["parquet"]
    path: PathText


class ArrowConnector(Model):
    """An Arrow IPC file or stream."""

    kind: Literal["arrow"]
    path: PathText


class JsonLinesConnector(Model):
    """A file with one JSON object per line, UTF-8."""

    kind: Literal["json-lines"]
    path: PathText


class CsvConnector(Model):
    """A CSV file, UTF-8, with a header line (RFC 4180)."""

    kind: Literal["csv"]
    path: PathText


Connector = Annotated[
    SqliteConnector
    | PostgresqlConnector
    | ParquetConnector
    | ArrowConnector
    | CsvConnector
    | JsonLinesConnector
    | FhirConnector
    | OmopConnector
    | DicomConnector
    | NiftiConnector,
    Field(discriminator="kind"),
]
