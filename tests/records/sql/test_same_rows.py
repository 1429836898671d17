# SPDX-License-Identifier: Apache-2.0
"""Whatever a database is let to leave out, the same rows come out as where it leaves out none."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records import open_store
from cloister.records.filter_arrow import mask_of
from cloister.records.interface import Store
from cloister.records.schema import conform
from cloister.records.sql.sqlite import SqliteStore
from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, columns_of, parse
from cloister.silos import Column, Dataset
from tests.records.postgresql_server import PostgresqlServer

WORDS = ("a", "A", "b", "ß", "é", "e\u0301", "a b", "1", "")
_DECLARED: dict[str, Any] = {
    "c": {"kind": "category", "values": ["a", "A", "b", "ß", "é", "e\u0301", "a b", "1"]},
    "n": {"kind": "number", "minimum": -1e12},
    "i": {"kind": "integer"},
    "b": {"kind": "boolean"},
    "d": {"kind": "date"},
    "t": {"kind": "timestamp"},
}
COLUMNS = {name: Column.model_validate(said, strict=False) for name, said in _DECLARED.items()}

NUMBERS = (
    *(0, -0.0, 1, 2, -3, 0.1, 0.5, 16777217, 2**53, 2**53 - 1, 2**53 + 1, -(2**53) - 1, 1e12, -2e12, 2**31, 5e-324),
    *(math.nextafter(0.1, 1), math.nextafter(0.1, 0), 0.10000000149011612, 123456789.123),
)
WHOLE = tuple(int(number) for number in NUMBERS if float(number).is_integer())
DAYS = tuple(date.fromisoformat(day) for day in ("0001-01-01", "1969-12-31", "2024-02-29", "2024-03-01", "9999-12-31"))
MOMENTS = tuple(
    datetime(2024, 2, 29, tzinfo=UTC) + shift
    for shift in (timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1), timedelta(hours=3))
)
VALUES: dict[str, tuple[Any, ...]] = {
    "c": WORDS,
    "n": NUMBERS,
    "i": WHOLE,
    "b": (True, False),
    "d": DAYS,
    "t": MOMENTS,
}
_ORDER = ("==", "!=", "<", "<=", ">", ">=")
_SAME = ("==", "!=")


def leaves_of(name: str) -> st.SearchStrategy[RowFilter]:
    values = st.sampled_from(VALUES[name])
    operators = st.sampled_from(_SAME if name in "cb" else _ORDER)
    return st.one_of(
        st.builds(Comparison, st.just(name), operators, values),
        st.builds(OneOf, st.just(name), st.lists(values, min_size=1, max_size=3).map(tuple)),
        st.builds(Missing, st.just(name)),
    )


CONDITIONS: st.SearchStrategy[RowFilter] = st.recursive(
    st.sampled_from(tuple(COLUMNS)).flatmap(leaves_of),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def passing(store: Store, condition: RowFilter, where: RowFilter | None) -> tuple[list[str], int]:
    """Ids of the rows given for ``where`` that ``condition`` lets through, and how many were given."""
    asked = columns_of(condition)
    found, rows = list[str](), 0
    for batch in store.batches(("id", *asked), where):
        rows += batch.num_rows
        typed = pa.RecordBatch.from_pydict(
            {name: conform(batch.column(name), COLUMNS[name], ("?",)).cells for name in asked}
        )
        found += batch.column("id").filter(mask_of(condition, typed)).to_pylist()
    return sorted(found), rows


def same_rows(store: Store, condition: RowFilter) -> int:
    """Check that the same rows come out; the number that the store left out."""
    everything, rows = passing(store, condition, None)
    assert store.left_out == 0
    narrowed, given_rows = passing(store, condition, condition)
    assert narrowed == everything
    assert given_rows + store.left_out == rows
    return store.left_out


TYPES: dict[str, dict[str, tuple[Any, ...]]] = {
    "c": {
        "text": (*WORDS, "?"),
        "varchar(9)": WORDS,
        "char(4)": WORDS,
        'text COLLATE "loose"': WORDS,
        "integer": (1, 2),
        "boolean": (True,),
        "date": DAYS,
    },
    "n": {
        "double precision": (*NUMBERS, math.nan, math.inf, -math.inf),
        "real": (*(number for number in NUMBERS if number != 5e-324), math.nan, math.inf),
        "numeric": (*map(repr, NUMBERS), "0.10000000000000000000001", "NaN", "Infinity", "1" + "0" * 320),
        "numeric(20, 4)": (*WHOLE, "0.1", "0.5", "NaN"),
        "bigint": WHOLE,
        "integer": (0, 1, 2, -3),
        "text": (*map(repr, NUMBERS), "x", "NaN", "?", "1e400"),
        "boolean": (True,),
    },
    "i": {
        "integer": (0, 1, 2, -3),
        "smallint": (0, 1, 2, -3),
        "bigint": WHOLE,
        "double precision": (*NUMBERS, math.nan, math.inf),
        "numeric": (*map(repr, NUMBERS), "NaN", "1.0"),
        "text": (*map(str, WHOLE), "+1", "x", "?"),
    },
    "b": {"boolean": (True, False), "integer": (0, 1, 2), "text": ("true", "no", "x")},
    "d": {
        "date": (*DAYS, "infinity", "-infinity", "10000-01-01", "0044-03-15 BC"),
        "timestamptz": (*MOMENTS, "infinity"),
        "timestamp": (*DAYS, "infinity"),
        "text": (*map(str, DAYS), "29.2.2024", "?", "2024-02-29T23:00:00-05:00"),
    },
    "t": {
        "timestamptz": (*MOMENTS, "infinity", "-infinity", "10000-01-01 00:00:00+00"),
        "timestamp": (*(moment.replace(tzinfo=None) for moment in MOMENTS), "infinity"),
        "date": DAYS,
        "text": (*map(str, MOMENTS), "yesterday"),
    },
}


@pytest.fixture(scope="module")
def tables(postgresql: PostgresqlServer) -> Iterator[list[Store]]:
    """Several tables, which between them hold each column in each type, with all the values that are awkward."""
    made = []
    with postgresql.database() as database:
        loose = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
        postgresql.execute(loose, database=database)
        count = max(map(len, TYPES.values()))
        for number in range(count):
            types = {name: list(known)[number % len(known)] for name, known in TYPES.items()}
            cells = {name: (None, *TYPES[name][kind]) for name, kind in types.items()}
            size = max(map(len, cells.values()))
            # Each value of a column beside different ones of the others.
            rows = [
                (f"{turn}-{n}", *(each[(n * (turn + 1) + turn) % len(each)] for each in cells.values()))
                for turn, n in itertools.product(range(3), range(size))
            ]
            names = ", ".join(f"{name} {kind}" for name, kind in {"id": "text", **types}.items())
            postgresql.execute(f"CREATE TABLE t{number} ({names})", database=database)
            with postgresql.superuser(database) as connection:
                connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
                with connection.cursor().copy(f"COPY t{number} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            declared = {"id": {"kind": "identifier"}, **_DECLARED}
            made.append(open_store(postgresql.dataset(database, declared, table=f"t{number}"), root=Path("/")))
        yield made


class TestPostgresql:
    @given(condition=CONDITIONS, number=st.integers(0, 7))
    def test_the_same_rows_come_out(self, tables: list[Store], condition: RowFilter, number: int) -> None:
        same_rows(tables[number], condition)

    @pytest.mark.parametrize(
        "text",
        [
            "c == 'a'",
            "c != 'a'",
            "c in ['a', 'b']",
            "c not in ['a', 'b']",
            "n > 0.1",
            "not n > 0.1",
            "i < 1 and b == true",
            "d >= 2024-02-29",
            "t < 2024-02-29T00:00:00Z",
            "i is missing",
            "n is not missing",
            "b is missing or c == 'b'",
        ],
    )
    def test_something_is_left_out(self, text: str, tables: list[Store]) -> None:
        assert same_rows(tables[0], parse(text)) > 0

    def test_a_condition_that_the_server_cannot_answer_leaves_out_none(self, tables: list[Store]) -> None:
        for text in ("c is missing", "n is missing", "c == 'a' or n is missing", "not (c is not missing)"):
            assert same_rows(tables[0], parse(text)) == 0

    def test_every_type_is_in_some_table(self, tables: list[Store]) -> None:
        assert len(tables) == max(map(len, TYPES.values())) == 8


CELLS = st.one_of(
    st.none(),
    st.sampled_from(
        [
            *WORDS,
            "?",
            "a\0",
            "x",
            *map(str, DAYS),
            *map(repr, NUMBERS),
            "true",
            "no",
            "+1",
            "1.0",
            "NaN",
            "2024-02-29 10:00:00",
            "2024-02-29T23:00:00-05:00",
        ]
    ),
    st.sampled_from([*NUMBERS, *WHOLE, math.inf]).filter(lambda number: abs(number) < 2**63),
    st.sampled_from([word.encode() for word in (*WORDS, "2024-02-29", "1", "0.1")]),
)


class TestSqlite:
    @given(
        condition=CONDITIONS,
        rows=st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS, CELLS), max_size=12),
        types=st.tuples(
            *[st.sampled_from(["", "TEXT", "NUMERIC", "INTEGER", "REAL", "BLOB", "TEXT COLLATE NOCASE"])] * 6
        ),
    )
    def test_the_same_rows_come_out(
        self, tmp_path_factory: pytest.TempPathFactory, condition: RowFilter, rows: list[Any], types: tuple[str, ...]
    ) -> None:
        path = tmp_path_factory.mktemp("pushdown") / "notes.db"
        same_rows(self.store(path, rows, types), condition)
        path.unlink()

    def store(self, path: Path, rows: list[Any], types: tuple[str, ...] = ("",) * 6) -> Store:
        with closing(sqlite3.connect(path)) as connection, connection:
            cells = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, types, strict=True))
            connection.execute(f"CREATE TABLE notes (id, {cells})")
            numbered = [(str(n), *row) for n, row in enumerate(rows)]
            connection.executemany("INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)", numbered)
        said = {
            "connector": {"kind": "sqlite", "path": str(path), "table": "notes"},
            "columns": {"id": {"kind": "identifier"}, **_DECLARED},
        }
        store = open_store(Dataset.model_validate(said, strict=False), root=Path("/"))
        assert isinstance(store, SqliteStore)
        return store

    @pytest.mark.parametrize(
        ("text", "left_out"),
        [
            ("c == 'a'", 3),
            ("c != 'a'", 2),
            ("c in ['a', 'b']", 2),
            ("n > 1", 3),
            ("i >= 2 or d == 2024-02-29", 2),
            ("d < 2024-03-01", 3),
            ("n is missing", 0),
            ("n is not missing", 1),
        ],
    )
    def test_something_is_left_out(self, text: str, left_out: int, tmp_path: Path) -> None:
        rows = [
            ("a", 1, 1, 1, "2024-02-29", None),
            ("b", 2.5, 2, 0, "2024-03-01", None),
            ("A", 0, -1, 0, "2025-01-01", None),
            (None, None, None, None, None, None),
        ]
        assert same_rows(self.store(tmp_path / "notes.db", rows), parse(text)) == left_out
