# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL server for all tests of a run that need one, and an empty database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
