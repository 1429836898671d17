# SPDX-License-Identifier: Apache-2.0
"""Makes small OMOP databases: the same records as SQLite, as a folder of CSV files, as a zip archive, in PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError
from cloister.records.omop.store import OmopStore
from cloister.silos.omop import OmopConnector
from tests.records.postgresql_server import READER, PostgresqlServer

SECRET = "the-patient-said-so"  # stands for a record's content: no message may hold it
DAY_0 = date(2020, 3, 1)  # the day before is 29 February
EVENTS = {
    "condition": ("condition_occurrence", "condition_concept_id", "condition_start_date"),
    "drug": ("drug_exposure", "drug_concept_id", "drug_exposure_start_date"),
    "procedure": ("procedure_occurrence", "procedure_concept_id", "procedure_date"),
    "measurement": ("measurement", "measurement_concept_id", "measurement_date"),
    "observation": ("observation", "observation_concept_id", "observation_date"),
    "visit": ("visit_occurrence", "visit_concept_id", "visit_start_date"),
}
TABLES: dict[str, dict[str, str]] = {
    "person": {
        "person_id": "bigint",
        "gender_concept_id": "integer",
        "year_of_birth": "integer",
        "month_of_birth": "integer",
        "day_of_birth": "integer",
        "birth_datetime": "timestamp",
        "person_source_value": "varchar(50)",
    },
    "observation_period": {
        "observation_period_id": "integer",
        "person_id": "bigint",
        "observation_period_start_date": "date",
        "observation_period_end_date": "date",
    },
    "concept_ancestor": {
        "ancestor_concept_id": "integer",
        "descendant_concept_id": "integer",
        "min_levels_of_separation": "integer",
    },
    "death": {"person_id": "bigint", "death_date": "date", "cause_concept_id": "integer"},
    **{
        table: {f"{table}_id": "integer", "person_id": "bigint", concept: "integer", day: "date"}
        for table, concept, day in EVENTS.values()
    },
}
for _table in ("measurement", "observation"):
    TABLES[_table] |= {f"{_table}_datetime": "timestamp", "value_as_number": "numeric", "unit_concept_id": "integer"}
TABLES["measurement"]["operator_concept_id"] = "integer"


@dataclass
class Cdm:
    """Records by table."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {table: [] for table in TABLES})

    def person(
        self, person_id: int, sex: int = 8507, born: str | tuple[int, int | None, int | None] = "1980-03-01"
    ) -> Cdm:
        """A person, born on a day (`birth_datetime`) or in a year, a month and on a day that may be missing."""
        if isinstance(born, str):
            year, month, day = (int(part) for part in born.split("-"))
            parts: tuple[Any, ...] = (year, month, day, datetime(year, month, day))
        else:
            parts = (*born, None)
        keys = ("year_of_birth", "month_of_birth", "day_of_birth", "birth_datetime")
        return self.add("person", person_id=person_id, gender_concept_id=sex, **dict(zip(keys, parts, strict=True)))

    def observed(self, person_id: int, first: int, last: int) -> Cdm:
        """An observation period, in days from `DAY_0`."""
        begin, end = (DAY_0 + timedelta(each) for each in (first, last))
        return self.add(
            "observation_period",
            person_id=person_id,
            observation_period_start_date=begin,
            observation_period_end_date=end,
        )

    def event(self, person_id: int, domain: str, concept: int, day: int, **cells: Any) -> Cdm:
        """An event, on a day counted from `DAY_0`."""
        table, concept_column, date_column = EVENTS[domain]
        if "moment" in cells:
            cells[f"{table}_datetime"] = cells.pop("moment")
        return self.add(
            table, person_id=person_id, **{concept_column: concept, date_column: DAY_0 + timedelta(day)}, **cells
        )

    def value(self, person_id: int, concept: int, day: int, number: float | None, **cells: Any) -> Cdm:
        """A measurement."""
        return self.event(person_id, "measurement", concept, day, value_as_number=number, **cells)

    def death(self, person_id: int, day: int) -> Cdm:
        """A death, without a cause."""
        return self.add("death", person_id=person_id, death_date=DAY_0 + timedelta(day))

    def add(self, table: str, **cells: Any) -> Cdm:
        """A record; its key is its number where the table has one."""
        rows = self.tables[table]
        rows.append(dict.fromkeys(TABLES[table]) | {f"{table}_id": len(rows) + 1} | cells)
        rows[-1] = {column: rows[-1][column] for column in TABLES[table]}
        return self


def write_sqlite(place: Path, cdm: Cdm, as_stored: Callable[[date], Any] = str) -> dict[str, str]:
    """An SQLite database; dates as ``as_stored`` makes them."""
    path = place / "cdm.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, rows in cdm.tables.items():
            columns = TABLES[table]
            connection.execute(
                f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
            )
            connection.executemany(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})",
                [[as_stored(cell) if isinstance(cell, date) else cell for cell in row.values()] for row in rows],
            )
    return {"kind": "sqlite", "path": str(path)}


def csv_text(table: str, rows: list[dict[str, Any]], as_written: Callable[[date], str] = str) -> bytes:
    """One table as a CSV file."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(TABLES[table])
    for row in rows:
        writer.writerow([as_written(cell) if isinstance(cell, date) else cell for cell in row.values()])
    return stream.getvalue().encode()


def write_csv(place: Path, cdm: Cdm) -> dict[str, str]:
    """A folder with one CSV file per table."""
    folder = place / "export"
    folder.mkdir(exist_ok=True)
    for table, rows in cdm.tables.items():
        (folder / f"{table}.csv").write_bytes(csv_text(table, rows))
    return {"kind": "csv-folder", "path": str(folder)}


def write_zip(place: Path, cdm: Cdm) -> dict[str, str]:
    """A zip archive as OHDSI's are: upper-case names, made on a Mac; dates without hyphens."""
    with zipfile.ZipFile(place / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for table, rows in cdm.tables.items():
            archive.writestr(f"{table.upper()}.csv", csv_text(table, rows, _compact))
            archive.writestr(f"__MACOSX/._{table.upper()}.csv", b"\0\5\x16\7")
    return {"kind": "csv-folder", "path": str(place / "export.zip")}


def write_postgresql(server: PostgresqlServer, database: str, cdm: Cdm, schema: str = "public") -> dict[str, Any]:
    """A schema of a PostgreSQL database, anew."""
    with server.superuser(database) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")  # type: ignore[call-overload]
        for table, rows in cdm.tables.items():
            columns = TABLES[table]
            declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            cursor.execute(f"CREATE TABLE {schema}.{table} ({declared})")  # type: ignore[call-overload]
            if rows:
                insert = f"INSERT INTO {schema}.{table} VALUES ({', '.join(['%s'] * len(columns))})"
                cursor.executemany(insert, [list(row.values()) for row in rows])  # type: ignore[arg-type]
        cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO {READER}")  # type: ignore[call-overload]
        cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {READER}")  # type: ignore[call-overload]
    return server.connector(database, table=None, schema=schema)


def _compact(day: date) -> str:
    return str(day) if isinstance(day, datetime) else f"{day:%Y%m%d}"


WRITERS: dict[str, Callable[[Path, Cdm], dict[str, str]]] = {
    "sqlite": write_sqlite,
    "csv": write_csv,
    "zip": write_zip,
}


def connector(source: dict[str, Any], **parts: Any) -> OmopConnector:
    """The declaration of a cohort that begins with condition 1, and whatever ``parts`` say."""
    cohort = {"entry": {"domain": "condition", "concepts": [1]}, **parts.pop("cohort", {})}
    document = {"kind": "omop", "source": source, "cohort": cohort, "fields": {"who": {"person": "id"}}, **parts}
    document["fields"] = {"who": {"person": "id"}, **document["fields"]}
    return OmopConnector.model_validate_json(json.dumps(document))


def window(domain: str, concepts: list[int], first: int, last: int, **more: Any) -> dict[str, Any]:
    """Events in a window, as a document says it."""
    return {"domain": domain, "concepts": concepts, "from": first, "to": last, **more}


def one_person(*, first: int = -1000, last: int = 1000) -> Cdm:
    """Person 7, whose index event is on day 0."""
    return Cdm().person(7).observed(7, first, last).event(7, "condition", 1, 0)


def table(source: dict[str, str], columns: Sequence[str] = (), **parts: Any) -> dict[int, dict[str, Any]]:
    """The cohort's rows by the person's id; all columns where none is named."""
    store = OmopStore.at(connector(source, **parts), Path("/nowhere"))
    names = store.column_names()
    rows = [row for batch in store.batches(columns or names) for row in batch.to_pylist()]
    return {row["who"]: row for row in rows} if "who" in (columns or names) else dict(enumerate(rows))


def refusal(source: dict[str, str], **parts: Any) -> RecordsError:
    """The refusal of a source, which holds no content."""
    with pytest.raises(RecordsError) as caught:
        table(source, **parts)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return caught.value


def entry(concepts: list[int], domain: str = "condition") -> dict[str, Any]:
    """Events on any day, as a document says it."""
    return {"domain": domain, "concepts": concepts}
