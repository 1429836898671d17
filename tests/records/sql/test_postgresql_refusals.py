# SPDX-License-Identifier: Apache-2.0
"""All that can go wrong between here and a real PostgreSQL server: one clear sentence, no record, no password."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.interface import Store
from cloister.row_filter import parse
from tests.records.contract import SECRET
from tests.records.postgresql_server import HOST, PASSWORD, READER, PostgresqlServer, certify
from tests.records.writers import rows

ROOT = Path("/")
COLUMNS = ("note", "triage")


def chained(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        yield from chained(error.__cause__)
        error = error.__context__


def checked(error: RecordsError) -> RecordsError:
    """The same, once it is known to hold no password and no record, nor to lead to another error that does."""
    for each in chained(error):
        assert not isinstance(each, psycopg.Error | sqlalchemy.exc.SQLAlchemyError)
        text = f"{each!s} {each!r} {''.join(traceback.format_exception(each))} {vars(each)}"
        for secret in (PASSWORD, PASSWORD.split(maxsplit=1)[0], SECRET):
            assert secret not in text
    assert str(error).isprintable()
    assert "SQL:" not in text
    assert not error.message.endswith(".")
    return error


def refusal(server: PostgresqlServer, database: str, **changed: Any) -> RecordsError:
    with pytest.raises(RecordsError) as caught:
        store = open_store(server.dataset(database, **changed), root=ROOT)
        list(store.batches(COLUMNS))
    return checked(caught.value)


def refusal_of(store: Store) -> RecordsError:
    with pytest.raises(RecordsError) as caught:
        list(store.batches(COLUMNS))
    return checked(caught.value)


@pytest.fixture
def large(postgresql: PostgresqlServer, database: str) -> str:
    """A table of 40 MB, more than lies between server and client."""
    postgresql.write(database, [])
    postgresql.execute(
        f"INSERT INTO notes SELECT n, 'p', repeat('{SECRET} ', 90), 'soon' FROM generate_series(1, 20000) n",
        database=database,
    )
    return database


class TestConnection:
    def place(self, server: PostgresqlServer) -> str:
        return f"`{HOST}:{server.port}`"

    def test_a_wrong_password(self, postgresql: PostgresqlServer, database: str, tmp_path: Path) -> None:
        wrong = tmp_path / "password"
        wrong.write_text(f"not-{SECRET}\n")
        wrong.chmod(0o600)
        error = refusal(postgresql, database, password={"file": str(wrong)})
        assert error.message == f"{self.place(postgresql)} knows no user `{READER}`, or not with this password"

    def test_an_unknown_user(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database, user="nobody")
        assert error.message == f"{self.place(postgresql)} knows no user `nobody`, or not with this password"

    def test_no_password(
        self, postgresql: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        # What lies about in the surroundings is not used.
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        (tmp_path / ".pgpass").write_text(f"*:*:*:*:{PASSWORD}\n")
        (tmp_path / ".pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / ".pgpass"))
        error = refusal(postgresql, database, password=None)
        assert error.message == f"{self.place(postgresql)} asks user `{READER}` for a password"

    @pytest.mark.parametrize("variable", ["PGSERVICE", "PGREQUIREAUTH", "PGMINPROTOCOLVERSION"])
    def test_a_variable_that_nothing_can_be_said_against(
        self, variable: str, postgresql: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "none")
        error = refusal(postgresql, database)
        said = f"environment variable `{variable}` is set, and the silo document alone says how a server is reached"
        assert error.message == said

    def test_a_password_that_others_can_read(self, postgresql: PostgresqlServer, database: str, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(PASSWORD)
        (tmp_path / "password").chmod(0o644)
        error = refusal(postgresql, database, password={"file": str(tmp_path / "password")})
        assert "can be read by others" in error.message

    def test_an_unknown_database(self, postgresql: PostgresqlServer) -> None:
        error = refusal(postgresql, "no such thing")
        assert error.message == f"{self.place(postgresql)} has no database `no such thing`"

    def test_a_database_that_may_not_be_entered(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
        try:
            error = refusal(postgresql, database)
        finally:
            postgresql.execute(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
        assert error.message.startswith(f"user `{READER}` may not connect to database `{database}` of ")

    def test_an_unknown_host(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database, host="no-such-host.invalid")
        assert error.message == "host `no-such-host.invalid` is not known"

    def test_a_port_where_nothing_listens(self, postgresql: PostgresqlServer, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        error = refusal(postgresql, database, port=port)
        assert error.message == f"nothing listens at `{HOST}:{port}`"

    def test_a_socket_that_is_not_there(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database, host="/nowhere", tls_authority=None)
        assert error.message == f"there is no socket `/nowhere/.s.PGSQL.{postgresql.port}`"

    def test_an_address_that_the_server_lets_nobody_in_from(self, postgresql: PostgresqlServer, database: str) -> None:
        access = postgresql.folder / "data" / "pg_hba.conf"
        before = access.read_text()
        access.write_text("host all nobody-else 127.0.0.1/32 trust\nlocal all postgres trust\n")
        try:
            postgresql.execute("SELECT pg_reload_conf()")
            error = eventually(lambda: refusal(postgresql, database), "lets user")
        finally:
            access.write_text(before)
            postgresql.execute("SELECT pg_reload_conf()")
        assert error.message == f"{self.place(postgresql)} lets user `{READER}` in from no place like this one"
        eventually(lambda: refusal(postgresql, database), "has no table")

    def test_a_server_that_does_not_answer(self, postgresql: PostgresqlServer, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            begun = time.monotonic()
            error = refusal(postgresql, database, port=port, connect_seconds=2)
            assert time.monotonic() - begun < 4
        assert error.message == f"`{HOST}:{port}` does not answer within 2 seconds"

    def test_a_server_of_another_kind(self, postgresql: PostgresqlServer, database: str) -> None:
        with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" + SECRET.encode()) as port:
            error = refusal(postgresql, database, port=port)
        assert error.message == f"`{HOST}:{port}` speaks no TLS as PostgreSQL does"
        with answering(SECRET.encode()) as port:
            error = refusal(postgresql, database, port=port, tls="unsafe-none", tls_authority=None)
        assert error.message == f"`{HOST}:{port}` refuses a connection of user `{READER}` to database `{database}`"


class TestTls:
    def test_a_certificate_of_another_authority(
        self, postgresql: PostgresqlServer, database: str, tmp_path: Path
    ) -> None:
        certify(tmp_path, "other", "server", HOST)
        other = str(tmp_path / "other.crt")
        error = refusal(postgresql, database, tls_authority=other)
        assert error.message == (
            f"the certificate of `{HOST}:{postgresql.port}` is not signed by an authority in `{other}`, or has ended"
        )

    def test_the_machines_own_authorities(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database, tls_authority=None)
        assert re.search("is not signed by an authority in|has no list of authorities", error.message)

    def test_a_certificate_for_another_host(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database, host="127.0.0.1")
        assert error.message == f"the certificate of `127.0.0.1:{postgresql.port}` is for another host"

    def test_an_authority_that_is_none(self, postgresql: PostgresqlServer, database: str, tmp_path: Path) -> None:
        (tmp_path / "ca.crt").write_text(SECRET)
        error = refusal(postgresql, database, tls_authority=str(tmp_path / "ca.crt"))
        assert "holds no certificate of an authority" in error.message
        error = refusal(postgresql, database, tls_authority=str(tmp_path / "none.crt"))
        assert error.message == f"`{tmp_path}/none.crt`, which `tls_authority` names, is no file"

    @pytest.mark.parametrize(("tls", "authority"), [("verify-full", "authority"), ("require", None)])
    def test_a_server_without_tls(
        self, tls: str, authority: str | None, postgresql: PostgresqlServer, database: str
    ) -> None:
        changed = {"tls": tls} if authority else {"tls": tls, "tls_authority": None}
        with postgresql.without_tls():
            error = refusal(postgresql, database, **changed)
        assert error.message == f"`{HOST}:{postgresql.port}` offers no TLS"

    def test_the_password_itself_goes_to_no_unknown_server(self, postgresql: PostgresqlServer, database: str) -> None:
        asks_for_the_password = b"R\0\0\0\x08\0\0\0\x03"  # AuthenticationCleartextPassword
        heard: list[bytes] = []
        with answering(asks_for_the_password, heard) as port:
            error = refusal(postgresql, database, port=port, tls="unsafe-none", tls_authority=None)
        assert "wants the password itself" in error.message
        assert not any(PASSWORD.encode() in piece for piece in heard)


class TestTable:
    def test_a_table_that_is_missing(self, postgresql: PostgresqlServer, database: str) -> None:
        error = refusal(postgresql, database)
        assert error.message == (f"database `{database}` of `{HOST}:{postgresql.port}` has no table `public.notes`")

    def test_a_schema_that_is_missing(self, postgresql: PostgresqlServer, database: str) -> None:
        assert refusal(postgresql, database, schema="ward").message.endswith("has no table `ward.notes`")

    def test_a_table_that_may_not_be_read(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(1))
        postgresql.execute(f"REVOKE ALL ON notes FROM {READER}", database=database)
        error = refusal(postgresql, database)
        assert error.message == f"user `{READER}` may not read `{database}.public.notes`"

    def test_a_table_that_is_locked(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(1))
        store = open_store(postgresql.dataset(database, connect_seconds=1), root=ROOT)
        with postgresql.superuser(database) as connection, connection.transaction():
            connection.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
            error = refusal_of(store)
        assert error.message == (f"`{database}.public.notes` is locked by another program, for longer than 1 seconds")

    def test_an_empty_table(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, [])
        store = open_store(postgresql.dataset(database), root=ROOT)
        assert list(store.batches(COLUMNS)) == []
        assert list(store.batches(COLUMNS, parse("triage == 'soon'"))) == []
        assert store.left_out == 0

    def test_a_record_that_makes_the_server_stumble_is_not_quoted(
        self, postgresql: PostgresqlServer, database: str
    ) -> None:
        postgresql.write(database, [("1", "2", SECRET, "soon")])
        postgresql.execute(
            "ALTER TABLE notes RENAME TO kept",
            "CREATE VIEW notes AS SELECT note_id, patient_id, note::int::text AS note, triage FROM kept",
            database=database,
        )
        assert "SQLSTATE 22P02" in refusal(postgresql, database).message  # invalid input syntax for type integer: "…"

    def test_bytes_that_are_not_utf8_name_column_and_row(self, postgresql: PostgresqlServer) -> None:
        with postgresql.database(encoding="SQL_ASCII") as name:
            postgresql.write(name, [("1", "2", "é", "soon")] * 20_000)
            postgresql.execute(
                "INSERT INTO notes VALUES ('1', '2', convert_from('\\xff', 'SQL_ASCII'), 'soon')", database=name
            )
            error = refusal(postgresql, name)
        assert error.message == f"column `note` of `{name}.public.notes` is not UTF-8 in row 20001"

    def test_utf8_in_a_database_that_knows_of_no_encoding(self, postgresql: PostgresqlServer) -> None:
        with postgresql.database(encoding="SQL_ASCII") as name:
            postgresql.write(name, [("1", "2", "é", "soon")])
            store = open_store(postgresql.dataset(name), root=ROOT)
            assert [batch.to_pylist() for batch in store.batches(("note",))] == [[{"note": "é"}]]


class TestMeanwhile:
    def backend(self, server: PostgresqlServer, database: str) -> int:
        with server.superuser() as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'cloister'"
            [(process,)] = connection.execute(asked, (database,)).fetchall()
        return int(process)

    @pytest.mark.parametrize("how", ["terminated", "killed"])
    def test_a_server_that_goes_away(self, how: str, postgresql: PostgresqlServer, large: str) -> None:
        reading = open_store(postgresql.dataset(large), root=ROOT).batches(COLUMNS)
        assert next(reading).num_rows
        process = self.backend(postgresql, large)
        if how == "terminated":
            postgresql.execute(f"SELECT pg_terminate_backend({process})")
        else:
            with postgresql.superuser() as other, pytest.raises(psycopg.OperationalError):
                os.kill(process, signal.SIGKILL)  # upon which the server ends all others, and starts anew
                while True:
                    other.execute("SELECT pg_sleep(0.01)")
            postgresql.wait()
        with pytest.raises(RecordsError) as caught:
            list(reading)
        assert checked(caught.value).message == (
            f"`{HOST}:{postgresql.port}` broke off while `{large}.public.notes` was read"
        )

    def test_a_server_that_stops_in_the_middle(self, postgresql: PostgresqlServer, large: str) -> None:
        reading = open_store(postgresql.dataset(large, statement_seconds=1), root=ROOT).batches(COLUMNS)
        assert next(reading).num_rows
        process = self.backend(postgresql, large)
        os.kill(process, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(RecordsError) as caught:
                list(reading)
            assert time.monotonic() - begun < 8
        finally:
            os.kill(process, signal.SIGCONT)
        assert checked(caught.value).message == f"`{HOST}:{postgresql.port}` said nothing for 1 seconds"

    def test_a_server_that_is_slow(self, postgresql: PostgresqlServer, database: str) -> None:
        postgresql.write(database, rows(3))
        postgresql.execute(
            "ALTER TABLE notes RENAME TO kept",
            "CREATE VIEW notes AS SELECT note_id, patient_id, note || pg_sleep(60) AS note, triage FROM kept",
            database=database,
        )
        begun = time.monotonic()
        error = refusal(postgresql, database, statement_seconds=1)
        assert time.monotonic() - begun < 8
        assert error.message == f"`{HOST}:{postgresql.port}` said nothing for 1 seconds"
        # And it was told to leave off.
        with postgresql.superuser() as connection:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cloister' AND state = 'active'"
            for _ in range(100):
                (busy,) = connection.execute(asked).fetchone() or (1,)
                if not busy:
                    break
                time.sleep(0.02)
        assert not busy

    def test_a_reader_who_is_slow_is_waited_for(self, postgresql: PostgresqlServer, large: str) -> None:
        reading = open_store(postgresql.dataset(large, statement_seconds=1), root=ROOT).batches(COLUMNS)
        read = next(reading).num_rows
        time.sleep(1.5)
        assert read + sum(batch.num_rows for batch in reading) == 20_000


@contextmanager
def answering(words: bytes, heard: list[bytes] | None = None) -> Iterator[int]:
    """A server that says ``words`` to whoever says something, and ends; its port."""

    def serve() -> None:
        caller, _ = listening.accept()
        with caller:
            heard_first = caller.recv(4096)
            caller.sendall(words)
            caller.settimeout(1)
            try:
                more = caller.recv(4096)
            except OSError:
                more = b""
            if heard is not None:
                heard.extend((heard_first, more))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(5)


def eventually(attempt: Any, words: str) -> RecordsError:
    """What comes of ``attempt`` once the server has heard of its new configuration."""
    for _ in range(100):
        error: RecordsError = attempt()
        if words in error.message:
            return error
        time.sleep(0.02)
    raise AssertionError(error.message)
