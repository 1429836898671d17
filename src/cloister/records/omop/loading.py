# SPDX-License-Identifier: Apache-2.0
"""From a CSV export into a private SQLite database: the tables, columns and records that a cohort needs, no others."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.omop.export import OmopExport
from cloister.records.omop.tables import CONCEPT_ANCESTOR, EVENT_TABLES, Cell, events_of, needed
from cloister.silos.omop import OmopConnector

_TYPES = {Cell.WHOLE: "INTEGER", Cell.NUMBER: "REAL", Cell.DATE: "INTEGER", Cell.MOMENT: "TEXT"}
_WHOLE = r"^-?[0-9]{1,18}(\.0*)?$"  # some programs write whole numbers with a point where others of them are missing
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})([T ].*)?", re.ASCII)
_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


def load(export: OmopExport, connector: OmopConnector, database: sqlite3.Connection) -> None:
    """Fill ``database``, which is empty, with what ``connector`` takes from ``export``.

    Dates become seconds since 1970-01-01, as `cloister.records.omop.days` reads them.

    Args:
        export: its tables and columns are known to be there.
        connector: says what is needed.
        database: filled in batches; memory does not grow with the number of records.

    Raises:
        RecordsError: where a cell is not what its column holds, naming file, column and row.
    """
    tables = needed(connector)
    for name in sorted(
        tables, key=lambda each: each != CONCEPT_ANCESTOR
    ):  # the ancestry first; others are chosen by it
        chosen_by, values = _chosen(name, connector, database)
        _load_table(export, database, name, tables[name], (chosen_by, values))


def _chosen(name: str, connector: OmopConnector, database: sqlite3.Connection) -> tuple[str, pa.Array | None]:
    """The column, and the ids, that a record of table ``name`` is loaded by; no ids where all records are."""
    if name == CONCEPT_ANCESTOR:
        ancestors = {concept for each in events_of(connector) if each.descendants for concept in each.concepts}
        return "ancestor_concept_id", pa.array(sorted(ancestors), pa.int64())
    for domain, table in EVENT_TABLES.items():
        if table.name != name:
            continue
        events = [each for each in events_of(connector) if each.domain is domain]
        if not all(each.concepts for each in events):
            break
        concepts = {concept for each in events for concept in each.concepts}
        wide = {concept for each in events if each.descendants for concept in each.concepts}
        if wide:
            rows = database.execute(f"SELECT ancestor_concept_id, descendant_concept_id FROM {CONCEPT_ANCESTOR}")  # noqa: S608
            concepts |= {descendant for ancestor, descendant in rows if ancestor in wide}
        return table.concept, pa.array(sorted(concepts), pa.int64())
    return "", None


def _load_table(
    export: OmopExport,
    database: sqlite3.Connection,
    name: str,
    columns: dict[str, Cell],
    chosen: tuple[str, pa.Array | None],
) -> None:
    chosen_by, ids = chosen
    declared = ", ".join(f"{column} {_TYPES[cell]}" for column, cell in columns.items())
    database.execute(f"CREATE TABLE {name} ({declared})")
    insert = f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names are the CDM's
    with export.table(name, list(columns)) as (store, batches):
        first_row = 1
        for batch in batches:
            rows = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
            first_row += batch.num_rows
            if ids is not None:
                keys = _cells(batch.column(chosen_by), Cell.WHOLE, _Place(store.shown, chosen_by, rows))
                kept = pc.fill_null(pc.is_in(keys, value_set=ids), False)
                batch, rows = batch.filter(kept), rows.filter(kept)  # noqa: PLW2901
            cells = [
                _cells(batch.column(column), cell, _Place(store.shown, column, rows)).to_pylist()
                for column, cell in columns.items()
            ]
            database.executemany(insert, zip(*cells, strict=True))


class _Place:
    """Where cells come from, for messages."""

    def __init__(self, file: str, column: str, rows: pa.Array) -> None:
        self.file, self.column, self.rows = file, column, rows

    def refusal(self, odd: pa.BooleanArray, what: str) -> RecordsError:
        row = self.rows[pc.index(odd, True).as_py()].as_py()
        return RecordsError(
            f"column `{self.column}` of `{self.file}` holds {what} in row {row}", hint="export the table again"
        )


def _cells(raw: pa.Array, cell: Cell, place: _Place) -> pa.Array:
    read = _READERS[cell]
    cells = raw if read is None else read(raw)
    odd = pc.and_(pc.is_valid(raw), pc.is_null(cells))
    if pc.any(odd).as_py():
        raise place.refusal(odd, f"something that is not {cell.value}")
    needs = place.column == "person_id" or cell is Cell.DATE
    if needs and cells.null_count:
        raise place.refusal(pc.is_null(cells), "nothing")
    return cells


def _where_like(raw: pa.Array, form: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(raw, form), raw, pa.scalar(None, pa.string()))


def _whole(raw: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(_where_like(raw, _WHOLE), r"\.0*$", "").cast(pa.int64())


def _number(raw: pa.Array) -> pa.Array:
    numbers = pc.replace_substring_regex(_where_like(raw, _NUMBER), r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _dates(raw: pa.Array) -> pa.Array:
    words = raw.dictionary_encode()  # there are far fewer days than records
    days = pa.array([_seconds(word) for word in words.dictionary.to_pylist()], pa.int64())
    return days.take(words.indices)


def _seconds(word: str) -> int | None:
    found = _DATE.fullmatch(word)
    try:
        return (date(*(int(part) for part in found.groups()[:3])) - _EPOCH).days * _SECONDS if found else None
    except ValueError:
        return None


_READERS: dict[Cell, Callable[[pa.Array], pa.Array] | None] = {
    Cell.WHOLE: _whole,
    Cell.NUMBER: _number,
    Cell.DATE: _dates,
    Cell.MOMENT: None,  # compared as it is written, or read by the statement
}
