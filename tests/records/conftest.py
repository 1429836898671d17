# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL server for all tests of a run that need one, an empty database for each, and every source of OMOP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.records.cdm import WRITERS, Cdm, write_postgresql
from tests.records.postgresql_server import PostgresqlServer, server_or_skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server that runs; the test is skipped where PostgreSQL is not installed."""
    yield from server_or_skip()


@pytest.fixture(scope="session")
def _database(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql.database() as name:
        yield name


@pytest.fixture
def database(postgresql: PostgresqlServer, _database: str) -> str:
    """The name of an empty database on that server."""
    postgresql.empty(_database)
    return _database


@pytest.fixture(params=[*WRITERS, "postgresql"])
def write_cdm(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Cdm], dict[str, Any]]:
    """Writes an OMOP database into one kind of source, and says where it is."""
    if request.param != "postgresql":
        return lambda cdm: WRITERS[request.param](tmp_path, cdm)
    server, database = (request.getfixturevalue(name) for name in ("postgresql", "database"))
    return lambda cdm: write_postgresql(server, database, cdm)
