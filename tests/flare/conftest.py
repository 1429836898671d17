# SPDX-License-Identifier: Apache-2.0
"""Federations for the tests that need running ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.federation_folder import make_federation
from tests.flare.live import Live


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A provisioned federation of three sites that is up; shared by a module's tests."""
    live = Live(make_federation(tmp_path_factory.mktemp("running")))
    live.cli("provision")
    live.cli("policy", "sign")
    try:
        live.cli("up")
        yield live
    finally:
        live.cli("down", expect=None)


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Live]:
    """A federation of three sites whose policies are signed, and that was never started."""
    live = Live(make_federation(tmp_path / "federation"))
    live.cli("provision")
    live.cli("policy", "sign")
    try:
        yield live
    finally:
        live.cli("down", expect=None)
