# SPDX-License-Identifier: Apache-2.0
"""Writes each reference site's records into the kinds of store that its silo document declares."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.files import PRIVATE_FILE, private_folder, write_atomically
from cloister.reference.accounts import BANK_SITES, account_files
from cloister.reference.generator import SITES, Kind, Record, site_records
from cloister.reference.heart import HEART_SITES
from cloister.reference.heart_stores import heart_files
from cloister.reference.letters import LETTER_SITES, letter_files
from cloister.reference.medications import MEDICATION_SITES, medication_files
from cloister.reference.pictures import PICTURE_SITES

Row = tuple[str, str, str, str]

# By kind of record: the table's name, and its columns.
TABLES: dict[Kind, tuple[str, tuple[str, str, str, str]]] = {
    "clinical-notes": ("notes", ("note_id", "patient_id", "note", "triage")),
    "complaints": ("complaints", ("complaint_id", "customer_id", "complaint", "product")),
}


def make_records(folder: Path, seed: int = 7) -> list[Path]:
    """Write the records of all six reference sites below ``<folder>/<site>/``.

    Notes and complaints are `<table>.<kind of store>`; the rest lies as `silos/<site>.yaml` says. Files that are there
    already are replaced.

    Args:
        folder: made where missing, with a private folder for each site in it.
        seed: the same seed writes the same records.

    Returns:
        The files written, notes and complaints first, in the order of the sites.
    """
    paths = []
    for site in SITES:
        table, columns = TABLES[site.kind]
        path = private_folder(folder / site.site) / f"{table}.{site.store}"
        rows = [_row(record) for record in site_records(site, seed)]
        write_atomically(path, _WRITERS[site.store](table, columns, rows))
        paths.append(path)
    for name, files in _other_files(seed):
        for place, content in files.items():
            path = folder / name / place
            private_folder(path.parent)
            _write(path, content)
            paths.append(path)
    return paths


def _other_files(seed: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """By site, what is written beside notes and complaints."""
    from cloister.reference.picture_stores import picture_files  # noqa: PLC0415 - takes a second to load

    yield from ((heart.site, heart_files(heart, seed)) for heart in HEART_SITES)
    yield from ((pictures.site, picture_files(pictures, seed)) for pictures in PICTURE_SITES)
    yield from ((medication.site, medication_files(medication, seed)) for medication in MEDICATION_SITES)
    yield from ((letter.site, letter_files(letter, seed)) for letter in LETTER_SITES)
    yield from ((bank.site, account_files(bank, seed)) for bank in BANK_SITES)


def _write(path: Path, content: bytes) -> None:
    """Write one of more than a thousand files, without the wait for the disk that each would take by itself.

    Whoever needs all or nothing writes into a folder that is renamed afterwards, as `cloister demo prepare` does.
    """
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as stream:  # noqa: PTH123
        stream.write(content)


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
