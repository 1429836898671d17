# SPDX-License-Identifier: Apache-2.0
"""Writes each reference site's records into the kind of store that its silo document declares."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.files import private_folder, write_atomically
from cloister.reference.generator import SITES, Kind, Record, site_records

Row = tuple[str, str, str, str]

# By kind of record: the table's name, and its columns.
TABLES: dict[Kind, tuple[str, tuple[str, str, str, str]]] = {
    "clinical-notes": ("notes", ("note_id", "patient_id", "note", "triage")),
    "complaints": ("complaints", ("complaint_id", "customer_id", "complaint", "product")),
}


def make_records(folder: Path, seed: int = 7) -> list[Path]:
    """Write the records of all six reference sites, each as ``<folder>/<site>/<table>.<kind of store>``.

    Files that are there already are replaced.

    Args:
        folder: made where missing, with a private folder for each site in it.
        seed: the same seed writes the same records.

    Returns:
        The files written, in the order of the sites.
    """
    paths = []
    for site in SITES:
        table, columns = TABLES[site.kind]
        path = private_folder(folder / site.site) / f"{table}.{site.store}"
        rows = [_row(record) for record in site_records(site, seed)]
        write_atomically(path, _WRITERS[site.store](table, columns, rows))
        paths.append(path)
    return paths


def _row(record: Record) -> Row:
    return (record.record_id, record.person_id, record.text, record.label)


def _sqlite(table: str, columns: tuple[str, ...], rows: list[Row]) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {table} ({columns[0]} TEXT PRIMARY KEY, {' TEXT, '.join(columns[1:])} TEXT)")
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)  # noqa: S608  names are this module's
        connection.commit()
        return connection.serialize()


def _parquet(_table: str, columns: tuple[str, ...], rows: list[Row]) -> bytes:
    arrays = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
    stream = io.BytesIO()
    parquet.write_table(pa.table(arrays, names=list(columns)), stream)
    return stream.getvalue()


def _csv(_table: str, columns: tuple[str, ...], rows: list[Row]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()


_WRITERS: dict[str, Callable[[str, tuple[str, ...], list[Row]], bytes]] = {
    "sqlite": _sqlite,
    "parquet": _parquet,
    "csv": _csv,
}
