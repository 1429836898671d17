# SPDX-License-Identifier: Apache-2.0
"""What a site brings: its datasets, base models and capacity (`silos/*.yaml`)."""

from cloister.silos.model import (
    BaseModelPlace,
    Capacity,
    Column,
    ColumnKind,
    CsvConnector,
    Dataset,
    ParquetConnector,
    Silo,
    SqliteConnector,
)

__all__ = [
    "BaseModelPlace",
    "Capacity",
    "Column",
    "ColumnKind",
    "CsvConnector",
    "Dataset",
    "ParquetConnector",
    "Silo",
    "SqliteConnector",
]
