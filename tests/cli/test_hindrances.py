# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from cloister.cli.hindrances import Hindrances
from cloister.flare.job_view import JobView

NAMES = [f"alpha-{number:03d}" for number in range(1, 7)]


def site(reason: str = "", restarts: int = 0, training: int | None = None) -> dict[str, Any]:
    said = {"state": "refused" if reason else "done", "denied": bool(reason), "reason": reason}
    return said | {"restarts": restarts, "training": training}


def view(phase: str, number: int, sites: dict[str, dict[str, Any]]) -> JobView:
    return JobView("an-id", "a-job", "RUNNING", progress={"phase": phase, "round": number, "sites": sites})


def test_a_steps_reasons_are_told_when_the_next_begins_and_only_once() -> None:
    told = Hindrances()
    assert told.lines(view("preparing", 0, {}), over=False) == []
    assert told.lines(view("preparing", 0, {name: site("no") for name in NAMES[:2]}), over=False) == []
    everybody = {name: site("no") for name in NAMES}
    line = "  6 sites (alpha-001, alpha-002, alpha-003, …): denied: no"
    assert told.lines(view("training", 1, everybody), over=False) == [line]
    assert told.lines(view("training", 1, everybody), over=False) == []
    assert told.lines(view("training", 2, everybody), over=False) == []
    assert told.lines(view("failed", 2, everybody), over=True) == []


def test_what_is_seen_last_is_told_at_the_end() -> None:
    told = Hindrances()
    refusals = dict.fromkeys(NAMES[:2], "denied: `purpose`")
    assert told.lines(JobView("an-id", "a-job", "RUNNING", refusals=refusals), over=False) == []
    assert told.lines(JobView("an-id", "a-job", "RUNNING", refusals=refusals), over=True) == [
        "  alpha-001, alpha-002: did not admit the job: denied: `purpose`"
    ]


def test_the_first_of_a_step_is_not_told_before_the_others_were_heard() -> None:
    told = Hindrances()
    first = {name: site("no" if name == NAMES[0] else "", training=9) for name in NAMES}
    assert told.lines(view("training", 1, first), over=False) == []
    everybody = {name: site("no", training=9) for name in NAMES}
    line = "  6 sites (alpha-001, alpha-002, alpha-003, …): denied: no"
    assert told.lines(view("training", 1, everybody), over=False) == []
    assert told.lines(view("failed", 1, everybody), over=True) == [line]


def test_where_more_sites_say_the_same_later_it_is_told_of_all() -> None:
    told = Hindrances()
    assert told.lines(view("training", 1, {NAMES[0]: site("no")}), over=False) == ["  alpha-001: denied: no"]
    again = told.lines(view("training", 2, {NAMES[0]: site(), NAMES[1]: site("no", restarts=1)}), over=False)
    assert again == [
        "  alpha-001, alpha-002: denied: no",
        "  alpha-002: its trainer died and was started again (1)",
    ]
