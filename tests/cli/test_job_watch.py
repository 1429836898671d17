# SPDX-License-Identifier: Apache-2.0
"""How often a running job is looked at, and what is kept of it when its process is gone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cloister.cli import job_watch
from cloister.errors import FederationError
from cloister.flare.job_view import JobView
from cloister.flare.session import PersonSession


def view(status: str, *seconds: float) -> JobView:
    """A job whose finished rounds took so long."""
    history = [{"round": number, "seconds": each} for number, each in enumerate(seconds, 1)]
    return JobView("1", "triage", status, progress={"history": history} if status == "RUNNING" else {})


class Says:
    """A session that says one thing after another, or raises it."""

    def __init__(self, *said: JobView | FederationError) -> None:
        self._said = list(said)

    def job(self, _: str) -> JobView:
        said = self._said.pop(0)
        if isinstance(said, FederationError):
            raise said
        return said


def polled(monkeypatch: pytest.MonkeyPatch, *said: JobView | FederationError) -> tuple[JobView, list[float]]:
    slept: list[float] = []
    monkeypatch.setattr(job_watch.time, "sleep", slept.append)
    return job_watch._poll(cast(PersonSession, Says(*said)), "1", lambda _: None), slept


def test_a_job_of_quick_rounds_is_looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [view("RUNNING"), view("RUNNING", 0.5), view("RUNNING", 0.5, 60.0)]
    _, slept = polled(monkeypatch, *running, view("FINISHED:COMPLETED"))
    assert slept == [0.5, 0.1, 0.5]


def test_what_was_seen_last_is_told_of_a_job_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: Any = FederationError("the server cannot be reached")
    last, slept = polled(monkeypatch, view("RUNNING", 0.5), lost, view("FINISHED:COMPLETED"))
    assert last.status == "FINISHED:COMPLETED"
    assert [entry["round"] for entry in last.progress["history"]] == [1]
    assert slept == [0.1, 0.5]
