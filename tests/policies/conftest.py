# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies import world as documents
from tests.policies.world import World


@pytest.fixture(scope="session", autouse=True)
def _nothing_read_before() -> None:
    """A mutation run repeats tests within one process: no document may be one that other code has read."""
    documents._parse.cache_clear()


@pytest.fixture
def world() -> World:
    return World()
