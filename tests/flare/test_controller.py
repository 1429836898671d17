# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.flare.controller import AdapterController
from cloister.flare.exchange import Ask, TaskName
from cloister.flare.rounds import Rounds
from cloister.flare.task import Task
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of


class Broken(Rounds):
    """The rounds of a job in which something goes wrong that nobody thought of."""

    def begin(self) -> None:
        raise ValueError("SVD did not converge")


class FullDisk(Rounds):
    """The rounds of a job whose server has no room left."""

    def begin(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("writable", [True, False], ids=["the reason can be written", "it cannot"])
def test_a_server_that_cannot_write_ends_the_job_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    rounds = FullDisk(job_of(make_federation(tmp_path)), "an-id", [], tmp_path / "result")
    controller, told = AdapterController(), []
    controller._rounds = rounds
    monkeypatch.setattr(controller, "panic", told.append)
    if writable:
        controller.run()
        assert "no space left" in (tmp_path / "result" / "failure.json").read_text()
    else:
        monkeypatch.setattr(rounds, "fail", lambda _reason, denied: rounds.begin())
        with pytest.raises(OSError, match="No space left"):
            controller.run()
    assert told == ["the server cannot write the job's state: no space left on device"]


def test_whatever_goes_wrong_the_job_ends_and_its_updates_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, told = AdapterController(), []
    controller._rounds = Broken(job_of(make_federation(tmp_path)), "an-id", [], tmp_path / "result")
    monkeypatch.setattr(controller, "panic", told.append)
    controller.run()
    assert told == ["the server's job process failed; its administrator finds the reason in the server's log"]
    assert told[0] in (tmp_path / "result" / "failure.json").read_text()
    assert not (tmp_path / "result-work").exists()


def test_a_site_that_was_not_waited_for_is_not_said_to_be_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", ["alpha", "beta"], tmp_path / "result")
    controller = AdapterController()
    controller._rounds = rounds
    monkeypatch.setattr(controller, "_send", lambda *_: None)
    for enough, reason in ((True, "was not waited for"), (False, "did not answer before the deadline")):
        monkeypatch.setattr(rounds, "is_enough", lambda enough=enough: enough)
        monkeypatch.setattr(controller, "_wait", lambda _: None)
        controller._ask(TaskName.TRAIN, ["beta"], [Task(("beta",), Ask(round=1))])
        assert rounds.progress()["sites"]["beta"]["reason"] == reason


@pytest.mark.parametrize(("asked", "awaited"), [(["a", "b", "c"], {"a", "b"}), (["a", "c"], {"a", "c"})])
def test_a_site_that_was_late_is_waited_for_where_the_others_that_are_asked_are_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], awaited: set[str]
) -> None:
    """The job needs two; sites that take part and are not asked in this round count for nothing in it."""
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", ["a", "b", "c", "d"], tmp_path / "result")
    monkeypatch.setattr(Rounds, "taking_part", ["a", "b", "c", "d"])
    controller, seen = AdapterController(), []
    controller._rounds, controller._late = rounds, {"c"}
    monkeypatch.setattr(controller, "_send", lambda *_: None)
    monkeypatch.setattr(controller, "_wait", lambda _: seen.append(controller._awaited()))
    controller._ask(TaskName.TRAIN, asked, [Task(tuple(asked), Ask(round=1))])
    assert seen == [awaited]
