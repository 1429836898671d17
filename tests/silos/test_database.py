# SPDX-License-Identifier: Apache-2.0
"""What a silo document may say of a database that runs as a server."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cloister.silos import PasswordPlace, PostgresqlConnector

LEAST = {"kind": "postgresql", "host": "db.ward.example", "database": "hospital", "table": "notes", "user": "reader"}


def connector(**changed: Any) -> PostgresqlConnector:
    return PostgresqlConnector.model_validate({**LEAST, **changed})


def refusal(**changed: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        connector(**changed)
    return str(caught.value)


def test_what_need_not_be_said() -> None:
    least = connector()
    assert (least.port, least.schema_, least.password, least.tls) == (5432, "public", None, "verify-full")
    assert (least.connect_seconds, least.statement_seconds) == (10, 600)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("db.ward.example", "db.ward.example:5432"),
        ("db-1", "db-1:5432"),
        ("10.0.0.1", "10.0.0.1:5432"),
        ("fe80::1", "[fe80::1]:5432"),
        ("/run/postgresql", "/run/postgresql/.s.PGSQL.5432"),
    ],
)
def test_hosts(host: str, shown: str) -> None:
    assert connector(host=host).shown == shown
    assert connector(host=host).is_socket == host.startswith("/")


@pytest.mark.parametrize(
    "host", ["", "a,b", "a b", "-a", "a=b", "@abstract", "run/postgresql", "/run,/tmp", "/a\nb", "a'b", "x" * 300]
)
def test_what_is_no_host(host: str) -> None:
    assert "host" in refusal(host=host)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("port", "5432"),
        ("table", 'notes"; DROP TABLE notes; --'),
        ("table", "public.notes"),
        ("schema", 'public", "other'),
        ("schema_", "public"),
        ("tls", "disable"),
        ("tls", "prefer"),
        ("connect_seconds", 0),
        ("statement_seconds", 0),
        ("password", "hunter2"),
        ("sslmode", "disable"),
        ("options", "-c search_path=x"),
        ("query", "SELECT 1"),
    ],
)
def test_what_may_not_be_said(key: str, value: Any) -> None:
    assert key in refusal(**{key: value})


def test_a_password_has_one_place() -> None:
    assert connector(password={"file": "/run/secrets/ward"}).password == PasswordPlace(file="/run/secrets/ward")
    for place in ({}, {"file": "a", "environment": "A"}):
        assert "needs either `environment` or `file`" in refusal(password=place)
    for name in ("1A", "A B", "A=B", "", "Ä"):
        assert "environment" in refusal(password={"environment": name})


@pytest.mark.parametrize("changed", [{"tls": "require"}, {"tls": "unsafe-none"}, {"host": "/run/postgresql"}])
def test_an_authority_that_would_not_be_asked_is_refused(changed: dict[str, str]) -> None:
    assert "may state `tls_authority` only with" in refusal(tls_authority="ca.crt", **changed)
