# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of its own: a cluster in a temporary folder, with TLS and passwords, thrown away at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql

from cloister.silos import Dataset
from tests.records.writers import COLUMNS, LABELS

HOST = "localhost"
READER = "reader"  # logs in with `PASSWORD`, and may read what lies in the schema public
TRUSTED = "trusted"  # logs in through the socket without a password
PASSWORD = "p4ss'w\\ord %s {} ünder-the-doormat"  # what quoting could stumble over, and what no message may hold
_ACCESS = f"""
local all postgres trust
local all {TRUSTED} trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""
_SETTINGS = """
listen_addresses = '127.0.0.1'
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
password_encryption = 'scram-sha-256'
fsync = off
full_page_writes = off
timezone = 'America/St_Johns'
datestyle = 'German, DMY'
intervalstyle = 'sql_standard'
extra_float_digits = -3
bytea_output = 'escape'
"""  # settings that a site may have, and that would change what values look like


class PostgresqlServer:
    """A server that runs.

    Attributes:
        folder: where all of it lies.
        port: the TCP port, at `HOST`.
        authority: certificate of the authority that signed the server's.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.authority = folder / "authority.crt"
        self.password = folder / "reader.password"
        self.password.write_text(PASSWORD + "\n", encoding="utf-8")
        self.password.chmod(0o600)

    def connector(self, database: str, **changed: Any) -> dict[str, Any]:
        """What a silo document says of the table `notes`; a key that is ``changed`` to None is left out."""
        said = {
            "kind": "postgresql",
            "host": HOST,
            "port": self.port,
            "database": database,
            "table": "notes",
            "user": READER,
            "password": {"file": str(self.password)},
            "tls_authority": str(self.authority),
            **changed,
        }
        return {key: value for key, value in said.items() if value is not None}

    def dataset(self, database: str, columns: dict[str, Any] | None = None, **changed: Any) -> Dataset:
        """A declaration of that table, with the columns that `tests.records.writers` writes."""
        if columns is None:
            columns = {
                "note_id": {"kind": "identifier"},
                "patient_id": {"kind": "identifier"},
                "note": {"kind": "text"},
                "triage": {"kind": "category", "values": LABELS},
            }
        return Dataset.model_validate(
            {"connector": self.connector(database, **changed), "columns": columns}, strict=False
        )

    def write(
        self, database: str, rows: Sequence[Sequence[Any]], columns: Sequence[str] = COLUMNS, kind: str = "text"
    ) -> None:
        """The table `notes`, anew, each column of type ``kind``."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with self.superuser(database) as connection:
            connection.execute("DROP TABLE IF EXISTS notes")
            cells = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name in columns)
            connection.execute(sql.SQL("CREATE TABLE notes ({})").format(cells))
            with connection.cursor().copy(sql.SQL("COPY notes ({}) FROM STDIN").format(names)) as copy:
                for row in rows:
                    copy.write_row(row)

    @property
    def socket_folder(self) -> str:
        return str(self.folder)

    @contextmanager
    def superuser(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection that may do everything, each statement by itself."""
        with psycopg.connect(
            host=self.socket_folder, port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            yield connection

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with self.superuser(database) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def wait(self) -> None:
        """Until it answers again."""
        for _ in range(600):
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not come back")

    @contextmanager
    def database(self, *, encoding: str = "UTF8") -> Iterator[str]:
        """A database of its own, which `READER` may read; the name of it."""
        name = f"d{time.monotonic_ns()}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'")
        with self.superuser() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Literal(encoding)))
        self.empty(name)
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def empty(self, database: str) -> None:
        """Remove all that lies in ``database``; `READER` and `TRUSTED` may read what comes."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA public CASCADE",
            'DROP SCHEMA IF EXISTS "Ward7" CASCADE',
            "CREATE SCHEMA public",
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}, {TRUSTED}",
            f"GRANT USAGE ON SCHEMA public TO {READER}, {TRUSTED}",
            database=database,
        )

    @contextmanager
    def without_tls(self) -> Iterator[None]:
        """The same server, while it offers no TLS."""
        self._switch_tls("off")
        try:
            yield
        finally:
            self._switch_tls("on")

    def _switch_tls(self, state: str) -> None:
        self.execute(f"ALTER SYSTEM SET ssl = {state}", "SELECT pg_reload_conf()")
        for _ in range(500):
            with self.superuser() as connection:
                (shown,) = connection.execute("SHOW ssl").fetchone() or ("",)
            if shown == state:
                return
            time.sleep(0.01)
        raise AssertionError(f"TLS is not {state}")


@contextmanager
def running_server(parent: Path | None = None) -> Iterator[PostgresqlServer]:
    """A server that was started for this, with `READER` and `TRUSTED` in it.

    Raises:
        FileNotFoundError: where PostgreSQL is not installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="cloister-pg-", dir=parent))
    user = _unprivileged()
    try:
        certify(folder, "authority", "server", HOST)
        (folder / "password").write_text("unused\n")
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, *user) if user else None
            path.chmod(0o700 if path.is_dir() else 0o600)
        data = folder / "data"
        initialise = [_program("initdb"), "--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"]
        _run([*initialise, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", str(data)], user, folder)
        for file in ("server.crt", "server.key"):
            (folder / file).rename(data / file)
        (data / "pg_hba.conf").write_text(_ACCESS)
        with (data / "postgresql.conf").open("a") as stream:
            stream.write(_SETTINGS)
        for path in (folder, folder / "authority.crt"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with _started(folder, user) as port:
            server = PostgresqlServer(folder, port)
            with server.superuser() as connection:
                made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                for name in (READER, TRUSTED):
                    connection.execute(made.format(sql.Identifier(name), sql.Literal(PASSWORD)))
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_or_skip() -> Iterator[PostgresqlServer]:
    """For a fixture: a server, or the test is skipped where PostgreSQL is not installed."""
    parent = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    try:
        _program("initdb")
    except FileNotFoundError:
        pytest.skip("PostgreSQL's server is not installed: sh scripts/postgresql.sh")
    with running_server(Path(parent) if parent else None) as server:
        yield server


def certify(folder: Path, authority: str, holder: str, host: str) -> None:
    """Make `<authority>.crt`, and `<holder>.crt` and `<holder>.key` for ``host``, signed by it."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(authority, root_key, None)
    addresses = x509.SubjectAlternativeName([x509.DNSName(host)])
    leaf = _certificate(host, key, (root, root_key), addresses)
    pem = serialization.Encoding.PEM
    (folder / f"{authority}.crt").write_bytes(root.public_bytes(pem))
    (folder / f"{holder}.crt").write_bytes(leaf.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{holder}.key").write_bytes(key.private_bytes(pem, *plain))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    addresses: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if addresses:
        builder = builder.add_extension(addresses, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def _program(name: str) -> str:
    """Where Debian, Fedora and others keep PostgreSQL's programs, the newest first."""
    if found := shutil.which(name):
        return found
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    for place in sorted(places, key=lambda path: int("".join(filter(str.isdigit, str(path)))), reverse=True):
        if (place / name).is_file():
            return str(place / name)
    raise FileNotFoundError(name)


def _unprivileged() -> tuple[int, int] | None:
    """As whom the server runs where we are root, whom PostgreSQL refuses."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def _as(user: tuple[int, int] | None) -> dict[str, Any]:
    return {"user": user[0], "group": user[1], "extra_groups": []} if user else {}


def _run(argv: list[str], user: tuple[int, int] | None, folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, **_as(user))
    assert done.returncode == 0, done.stderr


@contextmanager
def _started(folder: Path, user: tuple[int, int] | None) -> Iterator[int]:
    for _ in range(5):
        port = _free_port()
        argv = [_program("postgres"), "-D", str(folder / "data"), "-k", str(folder), "-p", str(port)]
        # If the tests are killed the server goes with them.
        argv = ["setpriv", "--pdeathsig", "INT", *argv] if shutil.which("setpriv") else argv
        log = folder / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stderr=stream, **_as(user))
        try:
            if _answers(folder, port, process):
                yield port
                return
        finally:
            process.send_signal(subprocess.signal.SIGINT)  # type: ignore[attr-defined]
            process.wait(30)
    raise AssertionError(f"PostgreSQL does not start: {log.read_text(errors='replace')[-2000:]}")


def _answers(folder: Path, port: int, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(600):
        with suppress(psycopg.OperationalError):
            psycopg.connect(host=str(folder), port=port, user="postgres", dbname="postgres").close()
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
