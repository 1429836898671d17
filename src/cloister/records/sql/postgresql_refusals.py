# SPDX-License-Identifier: Apache-2.0
"""What a PostgreSQL server, or the way to it, can refuse, in words of our own.

What the server says may quote a record, and is in whatever language the server speaks. So once connected, its
SQLSTATE alone counts (https://www.postgresql.org/docs/current/errcodes-appendix.html). Before, there is nothing but
its words: those that are known are told from each other, and all others become one sentence.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import sqlalchemy as sa

from cloister.errors import RecordsError
from cloister.silos import PostgresqlDatabase

Told = tuple[str, str]
"""A message and its hint."""

_SILO = "see the dataset's `connector` in the silo document"


def silent(place: PostgresqlDatabase) -> RecordsError:
    """The refusal of a server that says nothing for too long."""
    return RecordsError(
        f"`{place.shown}` said nothing for {place.statement_seconds} seconds",
        hint="raise `statement_seconds`, or ask the server's administrators what it was busy with",
    )


def refusal_of_connection(error: Exception, place: PostgresqlDatabase, authority: str) -> RecordsError:
    """Why there is no connection; ``authority`` is the file that the server's certificate was checked with."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return RecordsError(
            f"`{place.shown}` does not answer within {place.connect_seconds} seconds",
            hint="is it the right host and port, and does a firewall lie between?",
        )
    said = str(error)
    for words, tell in _BEFORE:
        if words in said:
            message, hint = tell(place, authority)
            return RecordsError(message, hint=hint)
    return RecordsError(
        f"`{place.shown}` refuses a connection of user `{place.user}` to database `{place.database}`",
        hint="the server's log says why",
    )


# The most telling first: where a host has several addresses, several of these may have been said.
_BEFORE: tuple[tuple[str, Callable[[PostgresqlDatabase, str], Told]], ...] = (
    (
        "no pg_hba.conf entry",
        lambda place, _: (
            f"`{place.shown}` lets user `{place.user}` in from no place like this one",
            "the server's pg_hba.conf must name user, database and this machine",
        ),
    ),
    (
        "password authentication failed",
        lambda place, _: (
            f"`{place.shown}` knows no user `{place.user}`, or not with this password",
            "look at `user` and `password` in the silo document",
        ),
    ),
    (
        "no password supplied",
        lambda place, _: (f"`{place.shown}` asks user `{place.user}` for a password", "name its place as `password`"),
    ),
    (
        'role "',
        lambda place, _: (f"`{place.shown}` knows no user `{place.user}`", _SILO),
    ),
    (
        "permission denied for database",
        lambda place, _: (
            f"user `{place.user}` may not connect to database `{place.database}` of `{place.shown}`",
            f"GRANT CONNECT ON DATABASE {place.database} TO {place.user}",
        ),
    ),
    (
        'database "',
        lambda place, _: (f"`{place.shown}` has no database `{place.database}`", _SILO),
    ),
    (
        "certificate verify failed",
        lambda place, authority: (
            f"the certificate of `{place.shown}` is not signed by an authority in `{authority}`, or has ended",
            "name the file with the authority's certificate as `tls_authority`",
        ),
    ),
    (
        "does not match host name",
        lambda place, _: (
            f"the certificate of `{place.shown}` is for another host",
            "write `host` as the certificate does",
        ),
    ),
    (
        "root certificate file",
        lambda place, authority: (
            f"`{authority}` holds no certificate of an authority to check `{place.shown}` with",
            "it should be a file in PEM, which begins with `-----BEGIN CERTIFICATE-----`",
        ),
    ),
    (
        "server does not support SSL",
        lambda place, _: (
            f"`{place.shown}` offers no TLS",
            "turn `ssl` on at the server; without it everybody on the way reads the records",
        ),
    ),
    (
        "authentication method requirement",
        lambda place, _: (
            f"`{place.shown}` wants the password itself, and is not known to be the right server",
            "use `tls: verify-full`, or let the server use scram-sha-256",
        ),
    ),
    (
        "the database system is",
        lambda place, _: (f"`{place.shown}` is starting or stopping", "try again later"),
    ),
    (
        "too many clients",
        lambda place, _: (f"`{place.shown}` has as many clients as it serves", "try again later"),
    ),
    (
        "failed to resolve host",
        lambda place, _: (
            f"host `{place.host}` is not known",
            "is the name right, and does this machine's DNS know it?",
        ),
    ),
    (
        "could not translate host name",
        lambda place, _: (
            f"host `{place.host}` is not known",
            "is the name right, and does this machine's DNS know it?",
        ),
    ),
    (
        "Connection refused",
        lambda place, _: (f"nothing listens at `{place.shown}`", "does the server run, and is the port right?"),
    ),
    (
        "No such file or directory",
        lambda place, _: (f"there is no socket `{place.shown}`", "does the server run, and is the folder right?"),
    ),
    (
        "SSL",
        lambda place, _: (f"`{place.shown}` speaks no TLS as PostgreSQL does", "is it PostgreSQL's port?"),
    ),
)


def refusal_of_statement(error: Exception, place: PostgresqlDatabase, shown: str) -> RecordsError:
    """Why the server did not do what it was asked, or broke off; ``shown`` is what is read."""
    if isinstance(error, sa.exc.DBAPIError) and isinstance(error.orig, psycopg.Error):
        error = error.orig
    state = getattr(error, "sqlstate", None)
    if state == "57014":  # query_canceled; nobody but the time limit cancels
        return silent(place)
    told = _AFTER.get(state or "")
    if told is not None:
        message, hint = told(place, shown)
        return RecordsError(message, hint=hint)
    if state is None or state[:2] in ("08", "57"):
        return RecordsError(
            f"`{place.shown}` broke off while `{shown}` was read", hint="the server's log says why; then try again"
        )
    return RecordsError(
        f"`{shown}` cannot be read: the server ends with SQLSTATE {state}",
        hint="https://www.postgresql.org/docs/current/errcodes-appendix.html says what that means",
    )


_AFTER: dict[str, Callable[[PostgresqlDatabase, str], Told]] = {
    "42P01": lambda _, shown: (f"there is no table `{shown}`", _SILO),
    "42703": lambda _, shown: (f"`{shown}` lost a column while it was read", "try again"),
    "42501": lambda place, shown: (
        f"user `{place.user}` may not read `{shown}`",
        "grant USAGE on the schema and SELECT on the table",
    ),
    "55P03": lambda place, shown: (
        f"`{shown}` is locked by another program, for longer than {place.connect_seconds} seconds",
        "try again when that program is done",
    ),
    "22021": lambda _, shown: (f"`{shown}` holds text that is not in the database's own encoding", "mend the records"),
    "22P05": lambda _, shown: (f"`{shown}` holds text that cannot be said in UTF-8", "mend the records"),
}
