# SPDX-License-Identifier: Apache-2.0
"""Federations for the tests that need running ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.documents import Document
from cloister.flare import site_job
from cloister.jobs import Job
from tests.federation_folder import make_federation
from tests.flare.live import Live
from tests.flare.signed_jobs import job_of
from tests.flare.site_folder import make_site
from tests.flare.trainer_in_memory import TrainerInMemory


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


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation's folder that a module's tests read."""
    return make_federation(tmp_path_factory.mktemp("documents"))


@pytest.fixture
def job(documents: Path) -> Document[Job]:
    """The job of that folder."""
    return job_of(documents)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a federation whose base model is tiny."""
    return make_site(tmp_path / "federation").resolve()


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[TrainerInMemory]:
    """What stands in the place of every trainer of a site's job."""
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)
    return TrainerInMemory
