# SPDX-License-Identifier: Apache-2.0
"""What may become of a site's records between one job and the next: one clear sentence, and no view, not even half."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewRequest, write_view
from cloister.row_filter import parse
from cloister.silos import Dataset
from tests.records.contract import SECRET
from tests.records.postgresql_server import HOST, PostgresqlServer
from tests.records.writers import WRITERS

COLUMNS = ("person", "age", "seen", "risk")
DECLARED: dict[str, Any] = {
    "person": {"kind": "identifier"},
    "age": {"kind": "integer"},
    "seen": {"kind": "date"},
    "risk": {"kind": "category", "values": ["low", "high"]},
}
WANTED = DatasetRef(name="rows", features=("age",), label="risk", labels=("low", "high"), validation_share=0.3)
KINDS = tuple(WRITERS)


def records(count: int = 40) -> list[tuple[Any, ...]]:
    return [(f"{SECRET}-{n}", n, f"2024-01-{n % 28 + 1:02}", "high" if n % 3 else "low") for n in range(count)]


def connector(kind: str) -> dict[str, Any]:
    return {"kind": kind, "path": "rows.x", **({"table": "notes"} if kind == "sqlite" else {})}


def refusal(folder: Path, connector: dict[str, Any], where: str | None = None) -> str:
    """Why there is no view; nothing is left of it, and nothing is quoted."""
    tree = {"connector": connector, "columns": DECLARED, "person": "person"}
    declared = Dataset.model_validate_json(json.dumps(tree))
    request = ViewRequest(WANTED, seed=3, where=None if where is None else parse(where))
    place = folder / "job" / "view"
    with pytest.raises(RecordsError) as caught:
        write_view(declared, request, key=b"k" * 32, root=folder, folder=place, name="rows")
    assert not place.parent.exists() or not list(place.parent.iterdir())
    assert SECRET not in f"{caught.value} {caught.value.__notes__ if hasattr(caught.value, '__notes__') else ''}"
    return caught.value.message


def written(folder: Path, kind: str, rows: Sequence[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> Path:
    (folder / "rows.x").unlink(missing_ok=True)
    WRITERS[kind](folder / "rows.x", rows, columns=columns)
    return folder / "rows.x"


@pytest.mark.parametrize("kind", KINDS)
class TestFiles:
    def test_a_type_that_changed(self, kind: str, tmp_path: Path) -> None:
        written(tmp_path, kind, [(person, f"{SECRET} {age}", *more) for person, age, *more in records()])
        assert refusal(tmp_path, connector(kind)) == "40 of 40 rows of dataset `rows` are unusable (40 by `age`)"

    def test_a_type_that_changed_on_the_way(self, kind: str, tmp_path: Path) -> None:
        if kind in ("parquet", "arrow"):
            pytest.skip("a column of such a file is of one type")
        rows = records()
        changed = [(person, age if n < 30 else f"{age} years", *more) for n, (person, age, *more) in enumerate(rows)]
        written(tmp_path, kind, changed)
        assert refusal(tmp_path, connector(kind)) == (
            "10 of 40 rows of dataset `rows` break what the silo document declares (10 by `age`), more than the share "
            "0.05 allowed"
        )

    def test_a_column_that_vanished(self, kind: str, tmp_path: Path) -> None:
        written(tmp_path, kind, [(person, *more) for person, _, *more in records()], ("person", "seen", "risk"))
        assert refusal(tmp_path, connector(kind)) == "`rows.x` has no column `age`"

    def test_a_file_that_is_cut_off(self, kind: str, tmp_path: Path) -> None:
        path = written(tmp_path, kind, records(5000))
        content = path.read_bytes()
        # Of text within a row's first cell: what is cut off behind its last one cannot be told.
        path.write_bytes(content[: content.index(b"\n", len(content) // 2) + 5])
        said = refusal(tmp_path, connector(kind))
        assert said.startswith(
            {
                "sqlite": "`rows.x` cannot be read by SQLite: SQLITE_CORRUPT",
                "parquet": "`rows.x` is not a readable Parquet file",
                "arrow": "`rows.x` is not a readable Arrow file or stream",
                "csv": "`rows.x` is not a readable CSV file: row ",
                "json-lines": "line ",
            }[kind]
        )

    def test_rows_that_no_policy_lets_through(self, kind: str, tmp_path: Path) -> None:
        written(tmp_path, kind, records())
        said = refusal(tmp_path, connector(kind), "age > 1000")
        assert said == "the policy lets no row of dataset `rows` through"

    def test_one_person_only(self, kind: str, tmp_path: Path) -> None:
        said = set()
        for person in range(12):  # some fall on one side, some on the other
            written(tmp_path, kind, [(f"P-{person}", *more) for _, *more in records()])
            said.add(refusal(tmp_path, connector(kind)))
        assert said == {"the records of dataset `rows` to train on are of one person alone"}


class TestServer:
    @pytest.fixture
    def place(self, postgresql: PostgresqlServer, database: str) -> dict[str, Any]:
        rows = [(person, str(age), *more) for person, age, *more in records()]
        postgresql.write(database, rows, COLUMNS)
        return postgresql.connector(database)

    def test_a_type_that_changed(
        self, place: dict[str, Any], postgresql: PostgresqlServer, database: str, tmp_path: Path
    ) -> None:
        change = "ALTER TABLE notes ALTER COLUMN age TYPE timestamptz USING now()"
        postgresql.execute(change, database=database)
        assert refusal(tmp_path, place) == "40 of 40 rows of dataset `rows` are unusable (40 by `age`)"

    def test_a_column_that_vanished(
        self, place: dict[str, Any], postgresql: PostgresqlServer, database: str, tmp_path: Path
    ) -> None:
        postgresql.execute("ALTER TABLE notes DROP COLUMN age", database=database)
        assert refusal(tmp_path, place) == f"`{database}.public.notes` has no column `age`"

    def test_an_empty_table(
        self, place: dict[str, Any], postgresql: PostgresqlServer, database: str, tmp_path: Path
    ) -> None:
        postgresql.execute("TRUNCATE notes", database=database)
        assert refusal(tmp_path, place) == "dataset `rows` is empty"

    def test_a_server_that_goes_away_in_the_middle(
        self, place: dict[str, Any], postgresql: PostgresqlServer, database: str, tmp_path: Path
    ) -> None:
        postgresql.execute(
            "DROP TABLE notes",
            "CREATE VIEW notes AS SELECT 'P' || n AS person, n AS age, DATE '2024-01-01' AS seen, CASE WHEN n = 45000 "
            "AND pg_terminate_backend(pg_backend_pid()) THEN 'low' ELSE 'high' END AS risk "
            "FROM generate_series(1, 60000) AS n",
            "GRANT SELECT ON notes TO PUBLIC",
            database=database,
        )
        said = refusal(tmp_path, place)
        assert said == f"`{HOST}:{postgresql.port}` broke off while `{database}.public.notes` was read"
