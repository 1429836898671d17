# SPDX-License-Identifier: Apache-2.0
"""A table of a real PostgreSQL server: the contract of all stores, and what each of its types becomes."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewRequest, open_store, write_view
from cloister.records.interface import BATCH_ROWS, Store
from cloister.records.schema import conform
from cloister.row_filter import parse
from cloister.silos import Column, ColumnKind
from tests.records.contract import NAUGHTY, SECRET, everything
from tests.records.postgresql_server import PASSWORD, TRUSTED, PostgresqlServer
from tests.records.writers import COLUMNS, LABELS, Row, rows

ROOT = Path("/")


def made(server: PostgresqlServer, database: str, content: list[Row], **changed: Any) -> Store:
    server.write(database, content)
    return open_store(server.dataset(database, **changed), root=ROOT)


def of_types(server: PostgresqlServer, database: str, *columns: str, **declared: str) -> Store:
    """A table `notes` with ``columns``, such as `weight numeric`, and a store with what is ``declared`` of them."""
    server.execute("DROP TABLE IF EXISTS notes", f"CREATE TABLE notes ({', '.join(columns)})", database=database)
    kinds = {name: {"kind": kind} for name, kind in declared.items()}
    return open_store(server.dataset(database, kinds), root=ROOT)


def cells(store: Store, column: str) -> list[Any]:
    return [cell for batch in store.batches((column,)) for cell in batch.column(0).to_pylist()]


def typed(store: Store, column: str, kind: ColumnKind) -> tuple[list[Any], list[bool]]:
    """A column's cells as a view would hold them, and which break their declaration."""
    conformed = [conform(batch.column(0), Column(kind=kind)) for batch in store.batches((column,))]
    return (
        [cell for each in conformed for cell in each.cells.to_pylist()],
        [cell for each in conformed for cell in each.invalid.to_pylist()],
    )


class TestContract:
    def test_columns_come_as_asked_and_only_those(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(3))
        assert store.column_names() == COLUMNS
        assert everything(store, "triage", "note")[1] == ("soon", "note number 1")
        assert everything(store, "note")[2] == ("note number 2",)

    def test_only_the_asked_columns_are_selected(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(2))
        postgresql.execute(
            "ALTER TABLE notes RENAME TO kept",
            "CREATE VIEW notes AS SELECT note_id, (length(patient_id) / 0)::text AS patient_id, note, triage FROM kept",
            database=database,
        )
        store = open_store(postgresql.dataset(database), root=ROOT)
        assert len(everything(store, "note", "triage")) == 2
        with pytest.raises(RecordsError, match="SQLSTATE 22012"):
            everything(store, "patient_id")

    def test_rows_stream_in_batches_and_none_is_lost(self, postgresql: PostgresqlServer, database: str) -> None:
        content = rows(3 * BATCH_ROWS + 7)
        store = made(postgresql, database, content)
        assert everything(store, "note") == [(row[2],) for row in content]
        assert [batch.num_rows for batch in store.batches(("note",))] == [BATCH_ROWS] * 3 + [7]

    @pytest.mark.parametrize("count", [0, 1, 255, 256, 257, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1])
    def test_no_row_is_lost_at_an_edge(self, count: int, postgresql: PostgresqlServer, database: str) -> None:
        content = rows(count)
        assert everything(made(postgresql, database, content), "note", "triage") == [row[2:] for row in content]

    def test_long_cells_make_small_batches(self, postgresql: PostgresqlServer, database: str) -> None:
        content = [(str(n), "p", chr(97 + n % 26) * 50_000, "soon") for n in range(600)]
        store = made(postgresql, database, content)
        assert everything(store, "note") == [(row[2],) for row in content]
        assert max(batch.nbytes for batch in store.batches(("note",))) < 20 << 20

    def test_a_missing_column_is_named_with_the_nearest(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, [("1", "2", "3", "4")], columns=("note_id", "patient_id", "notte", "triage"))
        with pytest.raises(RecordsError) as caught:
            open_store(postgresql.dataset(database), root=ROOT)
        assert caught.value.message == f"`{database}.public.notes` has no column `note`"
        assert caught.value.hint == "nearest is `notte`"

    def test_a_column_that_vanished_since_is_named(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(2))
        postgresql.execute("ALTER TABLE notes DROP note", database=database)
        with pytest.raises(RecordsError, match="has no column `note`"):
            everything(store, "note")

    @pytest.mark.parametrize("column", COLUMNS)
    def test_naughty_strings_pass_unharmed(self, column: str, postgresql: PostgresqlServer, database: str) -> None:
        if not NAUGHTY.is_file():
            pytest.skip(f"the shared test data is not here: {NAUGHTY}")
        strings = [
            *json.loads(NAUGHTY.read_text(encoding="utf-8")),
            *("a\r\nb\rc", '"', '""', "\ufeff", "a,b;c", "\\.", "\\N", "\\", "PGCOPY\n\xff\r\n"),
        ]
        index = COLUMNS.index(column)
        content = [tuple(text if n == index else f"cell {n}" for n in range(len(COLUMNS))) for text in strings]
        assert len(content) > 500
        # In whatever order: a table has none.
        assert sorted(everything(made(postgresql, database, content), *COLUMNS)) == sorted(content)

    def test_nothing_and_an_empty_text_are_told_apart(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, [("1", "2", None, "soon"), ("1", "2", "", None)])
        assert everything(store, "note") == [(None,), ("",)]
        assert everything(store, "note", "triage") == [(None, "soon"), ("", None)]

    def test_it_holds_no_images(self, postgresql: PostgresqlServer, database: str) -> None:
        with pytest.raises(RecordsError, match="holds no images"):
            made(postgresql, database, rows(1)).read_image("scan-1")


class TestOneState:
    def test_what_is_written_meanwhile_is_not_seen(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(3 * BATCH_ROWS))
        condition = parse("triage in ['routine', 'soon']")
        reading = store.batches(("note", "triage"), condition)
        given = next(reading).num_rows
        postgresql.execute(
            "DELETE FROM notes WHERE triage = 'soon'",
            "INSERT INTO notes SELECT 'new', 'new', 'new', 'routine' FROM generate_series(1, 1000)",
            database=database,
        )
        given += sum(batch.num_rows for batch in reading)
        assert (given, store.left_out) == (2 * BATCH_ROWS, BATCH_ROWS)

    def test_it_cannot_write(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(1))
        postgresql.execute(
            "CREATE TABLE seen (at text)",
            "GRANT ALL ON seen TO PUBLIC",
            "ALTER TABLE notes RENAME TO kept",
            "CREATE FUNCTION spy(note text) RETURNS text LANGUAGE sql AS"
            " 'INSERT INTO public.seen VALUES (note) RETURNING at'",
            "CREATE VIEW notes AS SELECT note_id, patient_id, spy(note) AS note, triage FROM kept",
            database=database,
        )
        with pytest.raises(RecordsError, match="SQLSTATE 25006"):  # read_only_sql_transaction
            everything(open_store(postgresql.dataset(database), root=ROOT), "note")

    def test_it_says_who_it_is(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(BATCH_ROWS * 3))
        reading = store.batches(("note",))
        next(reading)
        asked = "SELECT application_name, query FROM pg_stat_activity WHERE datname = %s"
        with postgresql.superuser() as connection:
            [(name, query)] = connection.execute(asked, (database,)).fetchall()
        assert name == "cloister"
        assert query == "COPY (SELECT note \nFROM public.notes) TO STDOUT (FORMAT binary)"
        reading.close()  # type: ignore[attr-defined]

    def test_a_reading_that_is_given_up_leaves_no_connection(self, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(BATCH_ROWS * 3))
        reading = store.batches(("note",))
        next(reading)
        reading.close()  # type: ignore[attr-defined]
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        with postgresql.superuser() as connection:
            for _ in range(100):
                (left,) = connection.execute(asked, (database,)).fetchone() or (1,)
                if not left:
                    break
            assert not left


class TestTypes:
    @pytest.mark.parametrize("kind", ["smallint", "integer", "bigint"])
    def test_whole_numbers(self, kind: str, postgresql: PostgresqlServer, database: str) -> None:
        bits = {"smallint": 15, "integer": 31, "bigint": 63}[kind]
        numbers = [0, -1, 2**bits - 1, -(2**bits), None]
        store = of_types(postgresql, database, f"x {kind}", x="integer")
        insert(postgresql, database, numbers)
        assert cells(store, "x") == numbers
        assert next(store.batches(("x",))).schema.field("x").type == pa.int64()

    def test_floats_keep_every_bit(self, postgresql: PostgresqlServer, database: str) -> None:
        numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, None]
        store = of_types(postgresql, database, "x double precision", x="number")
        insert(postgresql, database, numbers)
        assert list(map(repr, cells(store, "x"))) == list(map(repr, numbers))
        store = of_types(postgresql, database, "x real", x="number")
        insert(postgresql, database, [0.1, 16777217])
        assert cells(store, "x") == [0.10000000149011612, 16777216.0]

    def test_numbers_that_are_none_and_infinite_ones(self, postgresql: PostgresqlServer, database: str) -> None:
        for kind in ("real", "double precision", "numeric"):
            store = of_types(postgresql, database, f"x {kind}", x="number")
            insert(postgresql, database, ["1.5", "NaN", "Infinity", "-Infinity"])
            assert typed(store, "x", ColumnKind.NUMBER) == ([1.5, None, None, None], [False, False, True, True])

    def test_decimals_are_the_nearest_floats(self, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, "x numeric", x="number")
        insert(postgresql, database, ["0.1", "0.10000000000000000000001", "1e308", "9" * 400, "1e-400", "-12.50", None])
        assert cells(store, "x") == [0.1, 0.1, 1e308, float("inf"), 0.0, -12.5, None]

    def test_decimals_that_are_whole(self, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, "x numeric", x="integer")
        insert(postgresql, database, ["5.00", "123456789012345678", "-0.0", "0.5", "NaN", None])
        assert typed(store, "x", ColumnKind.INTEGER) == (
            [5, 123456789012345678, 0, None, None, None],
            [False, False, False, True, True, False],
        )

    def test_decimals_as_words_are_as_the_server_writes_them(self, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, "x numeric(6, 2)", x="identifier")
        insert(postgresql, database, ["5", "-0.5", None])
        assert cells(store, "x") == ["5.00", "-0.50", None]

    def test_truth_values(self, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, "x boolean", x="boolean")
        insert(postgresql, database, [True, False, None])
        assert cells(store, "x") == [True, False, None]

    def test_dates(self, postgresql: PostgresqlServer, database: str) -> None:
        days = [date(1, 1, 1), date(1899, 12, 31), date(1970, 1, 1), date(2024, 2, 29), date(9999, 12, 31), None]
        store = of_types(postgresql, database, "x date", x="date")
        insert(postgresql, database, days)
        assert cells(store, "x") == days
        assert next(store.batches(("x",))).schema.field("x").type == pa.date32()

    @pytest.mark.parametrize("odd", ["infinity", "-infinity", "10000-01-01", "0001-12-31 BC", "5874897-12-31"])
    def test_days_that_have_no_date(self, odd: str, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, "x date", x="date")
        insert(postgresql, database, ["2024-02-29", odd, None])
        assert typed(store, "x", ColumnKind.DATE) == ([date(2024, 2, 29), None, None], [False, True, False])

    @pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
    def test_moments_are_in_utc(self, kind: str, postgresql: PostgresqlServer, database: str) -> None:
        written = ["2024-02-29 01:02:03.456789+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", None]
        store = of_types(postgresql, database, f"x {kind}", x="timestamp")
        insert(postgresql, database, written)
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
        moments = [datetime(2024, 2, 29, 1, 2, 3, 456789, UTC), first, last, None]
        assert typed(store, "x", ColumnKind.TIMESTAMP) == (moments, [False] * 4)
        if kind == "timestamptz":
            insert(postgresql, database, ["2024-02-29 01:02:03+02:30"])
            assert cells(store, "x")[-1] == datetime(2024, 2, 28, 22, 32, 3, tzinfo=UTC)

    @pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
    @pytest.mark.parametrize("odd", ["infinity", "-infinity", "10000-01-01 00:00:00+00", "0001-12-31 23:59:59+00 BC"])
    def test_moments_that_have_no_date(self, kind: str, odd: str, postgresql: PostgresqlServer, database: str) -> None:
        store = of_types(postgresql, database, f"x {kind}", x="timestamp")
        insert(postgresql, database, ["2024-02-29 00:00:00+00", odd, None])
        moment = datetime(2024, 2, 29, tzinfo=UTC)
        assert typed(store, "x", ColumnKind.TIMESTAMP) == ([moment, None, None], [False, True, False])

    @pytest.mark.parametrize(
        ("kind", "written", "read"),
        [
            ("varchar(9)", "a  ", "a  "),
            ("char(9)", "a", "a"),
            ('"char"', "a", "a"),
            ("uuid", "00000000-0000-0000-0000-00000000000A", "00000000-0000-0000-0000-00000000000a"),
            ("json", '{"b" : 1}', '{"b" : 1}'),
            ("jsonb", '{"b" : 1}', '{"b": 1}'),
            ("time", "01:02:03.5", "01:02:03.5"),
            ("interval", "1 day 2 hours", "1 day 02:00:00"),
            ("inet", "10.0.0.1/8", "10.0.0.1/8"),
            ("mood", "so-so", "so-so"),
            ("short", "abc", "abc"),
        ],
    )
    def test_what_is_text(
        self, kind: str, written: str, read: str, postgresql: PostgresqlServer, database: str
    ) -> None:
        postgresql.execute(
            "CREATE TYPE mood AS ENUM ('good', 'so-so')",
            "CREATE DOMAIN short AS varchar(3) CHECK (length(value) = 3)",
            database=database,
        )
        store = of_types(postgresql, database, f"x {kind}", x="identifier")
        insert(postgresql, database, [written, None])
        assert cells(store, "x") == [read, None]

    @pytest.mark.parametrize("kind", ["bytea", "text[]", "point", "int4range", "money", "tsvector", "bit(3)", "pair"])
    def test_what_is_no_single_value_is_refused(self, kind: str, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.execute("CREATE TYPE pair AS (a int, b int)", database=database)
        store = of_types(postgresql, database, "y text", f"x {kind}", y="text")
        assert cells(store, "y") == []  # it may stand there, as long as nobody asks for it
        with pytest.raises(
            RecordsError, match=r"column `x` of `.*\.notes` is of .*, and not of one with single values"
        ):
            cells(store, "x")


def insert(server: PostgresqlServer, database: str, values: list[Any]) -> None:
    with server.superuser(database) as connection:
        connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
        with connection.cursor().copy("COPY notes (x) FROM STDIN") as copy:
            for value in values:
                copy.write_row((value,))


class TestPlaces:
    def test_a_socket_without_a_password(self, postgresql: PostgresqlServer, database: str) -> None:
        changed = {"host": postgresql.socket_folder, "user": TRUSTED, "password": None, "tls_authority": None}
        store = made(postgresql, database, rows(2), **changed)
        assert len(everything(store, "note")) == 2

    @pytest.mark.parametrize("tls", ["require", "unsafe-none"])
    def test_tls_as_the_document_says(self, tls: str, postgresql: PostgresqlServer, database: str) -> None:
        store = made(postgresql, database, rows(2), tls=tls, tls_authority=None)
        reading = store.batches(("note",))
        next(reading)
        asked = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = %s"
        with postgresql.superuser() as connection:
            assert connection.execute(asked, (database,)).fetchall() == [(tls == "require",)]
        reading.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("PGHOSTADDR", "127.0.0.9"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGSSLMINPROTOCOLVERSION", "none"),
            ("PGSSLNEGOTIATION", "direct"),
            ("PGREQUIREPEER", "nobody"),
            ("PGCHANNELBINDING", "require"),
            ("PGSSLROOTCERT", "/nowhere"),
            ("PGSSLCERT", "/nowhere"),
            ("PGOPTIONS", "-c nothing=1"),
        ],
    )
    @pytest.mark.parametrize("by_socket", [False, True])
    def test_no_variable_of_the_library_leads_elsewhere(
        self,
        by_socket: bool,
        variable: str,
        value: str,
        postgresql: PostgresqlServer,
        database: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store_by = {"host": postgresql.socket_folder, "user": TRUSTED, "password": None, "tls_authority": None}
        postgresql.write(database, rows(2))
        monkeypatch.setenv(variable, value)
        store = open_store(postgresql.dataset(database, **(store_by if by_socket else {})), root=ROOT)
        assert len(everything(store, "note")) == 2

    def test_an_authority_in_the_home_folder_is_not_asked(
        self, postgresql: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".postgresql").mkdir()
        (tmp_path / ".postgresql" / "root.crt").write_text("no certificate")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(everything(made(postgresql, database, rows(2), tls="require", tls_authority=None), "note")) == 2

    def test_another_schema_and_odd_names(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.execute(
            'CREATE SCHEMA "Ward7"',
            'GRANT USAGE ON SCHEMA "Ward7" TO PUBLIC',
            'CREATE TABLE "Ward7"."Select" ("From" text, "from" text)',
            """INSERT INTO "Ward7"."Select" VALUES ('upper', 'lower')""",
            database=database,
        )
        declared = {"From": {"kind": "text"}}
        dataset = postgresql.dataset(database, declared, schema="Ward7", table="Select")
        store = open_store(dataset, root=ROOT)
        assert store.column_names() == ("From", "from")
        assert everything(store, "from", "From") == [("lower", "upper")]

    def test_a_materialised_view_and_a_partitioned_table(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(3))
        postgresql.execute(
            "CREATE MATERIALIZED VIEW counted AS SELECT * FROM notes",
            "CREATE TABLE parted (note_id text, patient_id text, note text, triage text) PARTITION BY LIST (triage)",
            "CREATE TABLE part PARTITION OF parted DEFAULT",
            "INSERT INTO parted SELECT * FROM notes",
            database=database,
        )
        for table in ("counted", "parted"):
            assert len(everything(open_store(postgresql.dataset(database, table=table), root=ROOT), "note")) == 3

    def test_a_database_in_another_encoding(self, postgresql: PostgresqlServer) -> None:
        with postgresql.database(encoding="LATIN1") as name:
            postgresql.write(name, [("1", "2", "naïve", "soon"), ("1", "2", "x", "ürgent")])
            columns = {"note": {"kind": "text"}, "triage": {"kind": "category", "values": ["soon", "ürgent", "пора"]}}
            store = open_store(postgresql.dataset(name, columns), root=ROOT)
            assert everything(store, "note", "triage") == [("naïve", "soon"), ("x", "ürgent")]
            # What the database cannot even say is not asked of it.
            given = list(store.batches(("triage",), parse("triage == 'пора' or triage == 'ürgent'")))
            assert sum(batch.num_rows for batch in given) + store.left_out == 2

    def test_a_password_from_the_environment(
        self, postgresql: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WARD_PASSWORD", postgresql.password.read_text(encoding="utf-8").rstrip("\n"))
        store = made(postgresql, database, rows(2), password={"environment": "WARD_PASSWORD"})
        assert len(everything(store, "note")) == 2


def test_no_password_is_in_a_view_or_a_log(
    postgresql: PostgresqlServer, database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in ("", "sqlalchemy", "psycopg"):
        caplog.set_level(logging.DEBUG, logger)
    postgresql.write(database, [(f"n{n}", f"p{n}", f"{SECRET} {n}", LABELS[n % 3]) for n in range(60)])
    dataset = postgresql.dataset(database)
    wanted = DatasetRef(name="notes", text="note", label="triage", labels=LABELS)
    request = ViewRequest(wanted=wanted, seed=7, where=parse("triage != 'urgent'"), free_text="keep")
    manifest = write_view(dataset, request, key=b"k" * 32, root=ROOT, folder=tmp_path / "view", name="notes")
    assert (manifest.rows, manifest.filtered, manifest.training + manifest.validation) == (60, 20, 40)
    written = b"".join(path.read_bytes() for path in (tmp_path / "view").rglob("*") if path.is_file())
    assert SECRET.encode() in written
    shown = [written.decode("utf-8", "replace"), caplog.text, repr(dataset), dataset.model_dump_json(by_alias=True)]
    shown += [repr(vars(store)) for store in [open_store(dataset, root=ROOT)]]
    for text in shown:
        assert PASSWORD not in text
        assert PASSWORD.split(maxsplit=1)[0] not in text
    assert caplog.records  # something was logged, and no record
    assert SECRET not in caplog.text
