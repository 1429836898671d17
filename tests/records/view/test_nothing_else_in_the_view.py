# SPDX-License-Identifier: Apache-2.0
"""For every store of rows: nothing is in a view but the granted columns of the rows that the filter lets through.

The expected rows are worked out here, row by row, by other code than the view's. Cells that must stay behind hold words
that are looked for in every byte of the view. Stores of images, FHIR and OMOP have tests of the same beside their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewManifest, ViewRequest, write_view
from cloister.row_filter import RowFilter, parse
from cloister.silos import Dataset
from tests.records.postgresql_server import PostgresqlServer
from tests.records.test_filter_arrow import answer
from tests.records.writers import WRITERS

KEY = b"k" * 32
COLUMNS = ("row_id", "person", "age", "ward", "smoker", "diary", "risk")
DECLARED: dict[str, Any] = {
    "row_id": {"kind": "identifier"},
    "person": {"kind": "identifier"},
    "age": {"kind": "integer", "minimum": 0, "maximum": 120},
    "ward": {"kind": "category", "values": ["north", "south", "west"]},
    "smoker": {"kind": "boolean"},
    "diary": {"kind": "text"},
    "risk": {"kind": "category", "values": ["low", "high"]},
}
FILTERS = (
    "age >= 40",
    "age < 40 or ward == 'north'",
    "not (ward == 'north')",
    "ward in ['north', 'west'] and not (smoker == true)",
    "age is missing or smoker is not missing",
    "ward is missing or smoker == true",
    "not (ward is not missing)",
    "risk == 'high' and (age > 20 and age <= 60)",
    "ward != 'south'",
)
CANARY = "ZEBRA"

cells = st.tuples(
    st.integers(0, 5),  # person
    st.one_of(st.integers(0, 119), st.none(), st.just(200)),  # age; 200 breaks the schema
    st.one_of(st.sampled_from(["north", "south", "west"]), st.none(), st.just(f"{CANARY}-ward")),
    st.one_of(st.booleans(), st.none()),
    st.sampled_from(["low", "high"]),
)
tables = st.lists(cells, min_size=30, max_size=60)
filters = st.sampled_from(FILTERS)
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

Row = tuple[Any, ...]


def rows_of(table: list[Row]) -> list[Row]:
    """Full rows: what no job may read holds the canary."""
    return [
        (
            f"{CANARY}-{n}",
            f"{CANARY}-P{person}",
            age,
            ward,
            None if smoker is None else str(smoker).lower(),
            diary,
            risk,
        )
        for n, (person, age, ward, smoker, risk) in enumerate(table)
        for diary in [f"{CANARY} diary of {n}"]
    ]


def expected(table: list[Row], condition: RowFilter) -> list[tuple[Any, ...]]:
    """What the view must hold, as (age, smoker, risk): the filter first, by typed cells, then what is rejected."""
    found = []
    for _, age, ward, smoker, risk in table:
        known = {
            "age": age if age is None or age <= 120 else None,
            "ward": None if ward is None or CANARY in ward else ward,
            "smoker": smoker,
            "risk": risk,
        }
        broken = {"ward"} if ward is not None and CANARY in ward else set()
        if answer(condition, known, broken) is True and (age is None or age <= 120):
            found.append((age, smoker, risk))
    return found


def ask(declared: Dataset, root: Path, folder: Path, condition: RowFilter) -> ViewManifest:
    wanted = DatasetRef(
        name="rows", features=("age", "smoker"), label="risk", labels=("low", "high"), validation_share=0.3
    )
    request = ViewRequest(wanted, seed=3, where=condition)
    return write_view(declared, request, key=KEY, root=root, folder=folder, name="rows")


def check(declared: Dataset, root: Path, folder: Path, table: list[Row], text: str) -> None:
    condition = parse(text)
    wanted = expected(table, condition)
    try:
        manifest = ask(declared, root, folder, condition)
    except RecordsError as error:
        assert CANARY not in str(error)
        people = {row[0] for row in table if expected([row], condition)}
        # Six people at most: the split may leave one or none of them to train on.
        assert not wanted or "to train on" in error.message or len(people) < 2, error
        assert not folder.exists()
        return
    assert (manifest.rows, manifest.records) == (len(table), len(wanted))
    assert manifest.filtered + manifest.rejected + manifest.records == len(table)
    sides = [parquet.read_table(folder / f"{side}.parquet") for side in ("train", "validation")]
    for side in sides:
        assert side.column_names == ["age", "smoker", "risk"] or side.column_names == ["risk", "age", "smoker"]
    got = Counter((row["age"], row["smoker"], row["risk"]) for side in sides for row in side.to_pylist())
    assert got == Counter(wanted)
    for file in folder.iterdir():
        assert CANARY.encode() not in file.read_bytes()
    assert CANARY not in json.dumps(manifest.to_json())


def declared(connector: dict[str, Any]) -> Dataset:
    tree = {"connector": connector, "columns": DECLARED, "person": "person", "maximum_rejected_share": 1.0}
    return Dataset.model_validate_json(json.dumps(tree))


@pytest.mark.parametrize("kind", WRITERS)
@given(table=tables, text=filters)
@settings(parent=MANY, max_examples=15)
def test_of_files(kind: str, tmp_path_factory: pytest.TempPathFactory, table: list[Row], text: str) -> None:
    folder = tmp_path_factory.mktemp("rows")
    WRITERS[kind](folder / "rows.x", rows_of(table), columns=COLUMNS)
    connector = {"kind": kind, "path": "rows.x", **({"table": "notes"} if kind == "sqlite" else {})}
    check(declared(connector), folder, folder / "view", table, text)


@pytest.fixture(scope="module")
def database(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql.database() as name:
        yield name


@given(table=tables, text=filters)
@settings(parent=MANY, max_examples=15)
def test_of_postgresql(
    postgresql: PostgresqlServer, database: str, tmp_path_factory: pytest.TempPathFactory, table: list[Row], text: str
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    postgresql.empty(database)
    with postgresql.superuser(database) as connection:
        connection.execute(
            "CREATE TABLE notes "
            "(row_id text, person text, age bigint, ward text, smoker boolean, diary text, risk text)"
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO notes VALUES (%s, %s, %s, %s, %s::boolean, %s, %s)", rows_of(table))
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    check(declared(postgresql.connector(database)), folder, folder / "view", table, text)
