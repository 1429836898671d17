# SPDX-License-Identifier: Apache-2.0
"""Writes the same rows into each kind of store, and declares them."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cloister.silos import Dataset

Row = Sequence[Any]
COLUMNS = ("note_id", "patient_id", "note", "triage")
LABELS = ("routine", "soon", "urgent")


def write_sqlite(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE notes ({', '.join(columns)})")
        connection.executemany(
            f"INSERT INTO notes VALUES ({', '.join('?' * len(columns))})", [tuple(map(_known, row)) for row in rows]
        )


def _known(cell: Any) -> Any:
    """SQLite knows no dates."""
    return str(cell) if isinstance(cell, date) else cell


def write_parquet(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [pa.array(list(each), pa.string() if not each else None) for each in cells]
    parquet.write_table(pa.table(arrays, names=list(columns)), path)


def write_arrow(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS, *, stream: bool = False) -> None:
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    table = pa.table([pa.array(list(each), pa.string() if not each else None) for each in cells], names=list(columns))
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table)


def write_json_lines(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    lines = (json.dumps(dict(zip(columns, row, strict=True)), default=str) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])


WRITERS: dict[str, Callable[..., None]] = {
    "sqlite": write_sqlite,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "csv": write_csv,
    "json-lines": write_json_lines,
}


def dataset(kind: str, path: str, *, maximum_rejected_share: float = 0.05, maximum_characters: int = 2000) -> Dataset:
    """The declaration of such a store at ``path``."""
    table = {"table": "notes"} if kind == "sqlite" else {}
    return Dataset.model_validate(
        {
            "connector": {"kind": kind, "path": path, **table},
            "columns": {
                "note_id": {"kind": "identifier"},
                "patient_id": {"kind": "identifier"},
                "note": {"kind": "text", "maximum_characters": maximum_characters},
                "triage": {"kind": "category", "values": LABELS},
            },
            "maximum_rejected_share": maximum_rejected_share,
        },
        strict=False,
    )


def rows(count: int) -> list[tuple[str, str, str, str]]:
    """So many different rows, the labels in turn."""
    return [(f"n{n}", f"p{n // 2}", f"note number {n}", LABELS[n % 3]) for n in range(count)]
