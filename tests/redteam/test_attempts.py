# SPDX-License-Identifier: Apache-2.0
"""Every attempt of the list is made, refused in the words of the list, and leaves nothing at the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from nvflare.private.fed.utils.app_authz import AppAuthzService
from nvflare.private.privacy_manager import PrivacyManager, PrivacyService, Scope

from cloister.flare import admission
from cloister.flare.app_check import SiteAppCheck
from tests.docs.pages import text_of
from tests.flare.signed_jobs import provisioned
from tests.redteam import code, identity, jobs, leaving, policies, rounds, signers, views, wire
from tests.redteam.attempts import ATTEMPTS, BY_NAME, RUNNING, section
from tests.redteam.scene import CANARY, Scene, holds

MODULES = (jobs, signers, policies, code, leaving, rounds, views, wire, identity)
TRIES = {name: act for module in MODULES for name, act in module.TRIES.by_name.items()}
SLOW = {"approved-code-reaches-out", "approved-code-tells-what-it-read"}
BEGIN, END = "<!-- attempts: begin -->", "<!-- attempts: end -->"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A federation of the attempt's own, whose site is set up as our sites are."""
    scope = Scope()
    scope.set_name("cloister")
    monkeypatch.setattr(PrivacyService, "manager", PrivacyManager([scope], "cloister", None))
    monkeypatch.setattr(AppAuthzService, "app_validator", SiteAppCheck())
    monkeypatch.setattr(admission, "missing", lambda: None)  # whether bubblewrap works here is not what is asked
    folder = tmp_path / "things"
    folder.mkdir()
    yield Scene(provisioned(tmp_path), tmp_path / "marker", folder, monkeypatch)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TRIES])
def test_attempt_is_refused_and_nothing_of_it_gets_anywhere(scene: Scene, name: str) -> None:
    attempt = BY_NAME[name]
    told = TRIES[name](scene)
    assert told
    assert [said[:500] for said in told if not any(word in said for word in attempt.words)] == []
    assert [word for word in attempt.words if not any(word in said for said in told)] == [], "words nobody said"
    assert [said for said in told if CANARY in said] == []
    assert scene.ran() == []
    assert holds(scene.server) == []


def test_a_job_that_asks_for_nothing_more_is_let_in(scene: Scene) -> None:
    """Without this, the refusals would prove nothing."""
    job = scene.job()
    assert scene.both(job) == ["", ""]
    assert scene.server_app(job) == ""
    assert len(scene.let_in()) == 1


def test_what_reached_the_server_would_be_found(scene: Scene) -> None:
    assert holds(scene.server) == []
    (scene.server / "jobs").mkdir()
    (scene.server / "jobs" / "x.zip").write_bytes(scene_archive())
    (scene.server / CANARY).write_bytes(b"")
    assert len(holds(scene.server)) == 2


def scene_archive() -> bytes:
    from tests.flare.signed_jobs import zip_of

    return zip_of({"a/b": b"x" * 1000 + CANARY.encode()})


def test_every_attempt_is_made_once_and_every_one_that_is_made_is_listed() -> None:
    assert [name for name, count in Counter(each.name for each in ATTEMPTS).items() if count > 1] == []
    assert sorted(TRIES) == sorted(each.name for each in ATTEMPTS if each not in RUNNING)
    assert len(ATTEMPTS) >= 35


def test_the_threat_model_lists_the_attempts() -> None:
    """Where it differs: `python -m tests.redteam.attempts` prints what belongs between the two marks."""
    page = text_of("docs/threat-model.md")
    assert page.count(BEGIN) == page.count(END) == 1
    between = page.split(BEGIN)[1].split(END)[0]
    assert between.strip() == section().strip()
