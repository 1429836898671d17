# SPDX-License-Identifier: Apache-2.0
"""A connection to a PostgreSQL database that reads one state of it and changes nothing.

1. How the server is reached stands in the silo document, and nowhere else: no password file, no environment variable
   of the client library, no authority in the home folder and no client certificate takes part.
2. All that is asked over one connection is asked in one transaction, repeatable read and read only
   (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-REPEATABLE-READ).
3. A password is asked for where the connection is made, and no error carries it: what the client library says is put
   into words of our own, and its error let go.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.pool import StaticPool

from cloister.errors import CloisterError, RecordsError
from cloister.records.sql.credentials import read_password
from cloister.records.sql.postgresql_refusals import refusal_of_connection, refusal_of_statement, silent
from cloister.records.sql.silence import SilenceWatch
from cloister.silos import PostgresqlDatabase

APPLICATION = "cloister"

_NOWHERE = "/dev/null/none"
_WITHOUT_A_DEFAULT = frozenset({"service", "require_auth", "min_protocol_version", "max_protocol_version"})
"""Parameters for which the library takes no word that means the same as saying nothing."""

_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
"""Where Debian, Fedora and SUSE keep the authorities that a machine trusts."""


@dataclass(frozen=True)
class Opened:
    """A connection in its transaction.

    Attributes:
        connection: SQLAlchemy's.
        driver: psycopg's, the same one.
        watch: limits the server's silence while something is waited for.
    """

    connection: sa.Connection
    driver: psycopg.Connection[Any]
    watch: SilenceWatch


class PostgresqlServer:
    """The way to one database.

    Attributes:
        place: as the silo document declares it.
        shown: what is read, for messages.
    """

    def __init__(self, place: PostgresqlDatabase, shown: str, *, root: Path) -> None:
        self.place = place
        self.shown = shown
        self._root = root

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """A connection, closed afterwards, whatever the server still does.

        Raises:
            RecordsError: where there is none to be had, or the server refuses what is asked of it, or breaks off.
        """
        refusal: RecordsError | None = None
        driver = self._connect()
        try:
            limit = self.place.statement_seconds
            with SilenceWatch(driver.fileno(), limit, lambda: driver.cancel_safe(timeout=2)) as watch:
                try:
                    yield from self._in_transaction(driver, watch)
                except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
                    refusal = silent(self.place) if watch.fired else refusal_of_statement(error, self.place, self.shown)
        finally:
            with suppress(psycopg.Error):
                driver.close()
        if refusal is not None:
            _alone(refusal)

    def _in_transaction(self, driver: psycopg.Connection[Any], watch: SilenceWatch) -> Iterator[Opened]:
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: driver,
            poolclass=StaticPool,
            pool_reset_on_return=None,
            use_native_hstore=False,
        )
        try:
            with watch.waiting():
                connection = engine.connect()
                connection.execute(_settings(self.place))
            yield Opened(connection, driver, watch)
        finally:
            engine.dispose(close=False)  # whoever opened the connection closes it, and asks the server for nothing more

    def _connect(self) -> psycopg.Connection[Any]:
        password = None
        if self.place.password is not None:
            password = read_password(self.place.password, root=self._root)
        authority = self._authority()
        refusal: CloisterError
        try:
            driver = psycopg.connect(**_parameters(self.place, password, authority))  # type: ignore[arg-type]
        except (psycopg.Error, UnicodeError) as error:
            refusal = refusal_of_connection(error, self.place, authority)
        else:
            driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            driver.read_only = True
            return driver
        _alone(refusal)

    def _authority(self) -> str:
        """The file with the authorities that may have signed the server's certificate; empty where none is asked."""
        place = self.place
        if place.is_socket or place.tls != "verify-full":
            return ""
        if place.tls_authority is not None:
            file = self._root / place.tls_authority
            if not file.is_file():
                raise RecordsError(f"`{place.tls_authority}`, which `tls_authority` names, is no file")
            return str(file)
        for bundle in (ssl.get_default_verify_paths().cafile, *_BUNDLES):
            if bundle and Path(bundle).is_file():
                return bundle
        hint = "name a file with the authority's certificate as `tls_authority`"
        raise RecordsError("this machine has no list of authorities that it trusts", hint=hint)


def _parameters(place: PostgresqlDatabase, password: SecretStr | None, authority: str) -> dict[str, str | int]:
    """https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS."""
    parameters: dict[str, str | int] = {
        "host": place.host,
        "port": place.port,
        "dbname": place.database,
        "user": place.user,
        "password": password.get_secret_value() if password else "",
        "passfile": _NOWHERE,
        "options": "",
        "sslmode": "disable" if place.is_socket or place.tls == "unsafe-none" else place.tls,
        "sslcertmode": "disable",
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": APPLICATION,
        "connect_timeout": max(2, place.connect_seconds),  # the library knows no shorter one
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    if authority:
        parameters["sslrootcert"] = authority
    elif not place.is_socket:
        parameters["require_auth"] = "!password"  # nobody who has not proved who they are is told the password
        parameters["sslrootcert"] = _NOWHERE  # else one in the home folder is asked
    return _instead_of_the_environment() | parameters


def _instead_of_the_environment() -> dict[str, str | int]:
    """What the library itself would take, for all that a variable of the environment says otherwise.

    `PGHOSTADDR` alone would lead to another server than the document names.

    Raises:
        RecordsError: where a variable is set that nothing can be said against.
    """
    parameters: dict[str, str | int] = {}
    for option in psycopg.pq.Conninfo.get_defaults():
        variable, keyword = (option.envvar or b"").decode(), option.keyword.decode()
        if not variable or variable not in os.environ:
            continue
        if keyword in _WITHOUT_A_DEFAULT:
            hint = "unset it where the site's processes are started"
            raise RecordsError(
                f"environment variable `{variable}` is set, and the silo document alone says how a server is reached",
                hint=hint,
            )
        parameters[keyword] = (option.compiled or b"").decode()
    return parameters


def _settings(place: PostgresqlDatabase) -> sa.Select[Any]:
    """For this transaction only, so that a pooler between needs to know none of it."""
    milliseconds = place.statement_seconds * 1000
    schema = '"' + place.schema_.replace('"', '""') + '"'
    settings = {
        "statement_timeout": str(milliseconds),
        "lock_timeout": str(min(place.connect_seconds * 1000, milliseconds - 1)),
        "idle_in_transaction_session_timeout": "0",  # between two batches a view is written, which may take its time
        "search_path": schema,  # what a table's own functions may look for
        "datestyle": "ISO",
        "intervalstyle": "postgres",
        "timezone": "UTC",
        "extra_float_digits": "1",
        "bytea_output": "hex",
    }
    return sa.select(*(sa.func.set_config(name, value, True) for name, value in settings.items()))


def _alone(refusal: CloisterError) -> NoReturn:
    """Raise ``refusal`` without what led to it: the library's error knows the password and may quote a record."""
    try:
        raise refusal
    finally:
        refusal.__context__ = None
