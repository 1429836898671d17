# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cloister.cli.progress_table import lines_of, state_of, table_of
from cloister.flare.job_view import JobView
from tests.reports.finished_job import finished_job


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = finished_job(tmp_path_factory.mktemp("job"))
    found["sites"]["beta"]["sandbox"] = "unsafe-none"
    return found


def drawn(view: JobView) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=150, force_terminal=True, color_system=None).print(table_of(view))
    return [line.strip() for line in out.getvalue().splitlines()]


def view_with(progress: dict[str, Any]) -> JobView:
    return JobView("an-id", "tiny-triage", "RUNNING", progress=progress)


def test_on_a_terminal_each_site_has_a_row(result: dict[str, Any]) -> None:
    lines = drawn(view_with(result))
    assert lines[0].startswith("tiny-triage: completed, round 2 of 2")
    assert set(lines[1]) == {"━"}
    assert lines[2].split() == ["site", "state", "records", "loss", "metric", "sent", "rounds"]
    assert lines[3].split()[:3] == ["alpha", "done", "18"]
    assert "sandbox: unsafe-none" in lines[4]
    assert "unsafe-none" not in lines[3]
    assert lines[5].startswith("gamma  denied: `purpose`: not granted (policies/gamma.yaml:12)")


def test_a_wait_after_the_last_round_is_explained(result: dict[str, Any]) -> None:
    waiting, ended = view_with(result), JobView("an-id", "tiny-triage", "FINISHED:COMPLETED", progress=result)
    assert drawn(waiting)[0].endswith("s; the server stores the result …")
    assert drawn(ended)[0].endswith(" s")


def test_elsewhere_each_line_is_said_once_it_can_be(result: dict[str, Any]) -> None:
    lines = lines_of(view_with(result))
    assert lines[0] == "tiny-triage: running"
    assert "  alpha: 18 training and 6 validation records" in lines
    assert "  beta: 36 training and 6 validation records, sandbox: unsafe-none" in lines
    assert "  gamma: denied: `purpose`: not granted (policies/gamma.yaml:12)" in lines
    assert lines[-1].startswith("  round 2 of 2: 2 of 3 sites; came in with accuracy 0.625")


def test_before_there_is_progress_the_state_is_told_in_words() -> None:
    view = JobView("an-id", "tiny-triage", "SUBMITTED", refusals={"beta": "denied: `purpose`: no"})
    refusal = "beta did not admit the job: denied: `purpose`: no"
    assert drawn(view) == ["tiny-triage: waiting for the sites", refusal]
    assert lines_of(view)[1] == f"  {refusal}"
    assert drawn(view_with({})) == ["tiny-triage: running; its processes start …"]


def test_states_are_words() -> None:
    states = ("FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION", "FINISHED:ABANDONED")
    words = [state_of(JobView("an-id", "tiny-triage", state)) for state in states]
    assert words == ["completed", "execution exception", "lost with its server"]


def test_of_many_sites_states_are_counted_and_records_are_not_told_one_by_one(result: dict[str, Any]) -> None:
    view, out = view_with(result), io.StringIO()
    Console(file=out, width=150, force_terminal=True, color_system=None).print(table_of(view, most=2))
    assert [line.strip() for line in out.getvalue().splitlines()][2:] == [
        "2 done, 1 denied",
        "gamma: denied: `purpose`: not granted (policies/gamma.yaml:12)",
    ]
    assert not [line for line in lines_of(view, most=2) if "training and" in line]
    assert "  gamma: denied: `purpose`: not granted (policies/gamma.yaml:12)" in lines_of(view, most=2)
    assert lines_of(view, most=3) == lines_of(view)


def test_what_hindered_sites_can_be_left_to_be_told_elsewhere(result: dict[str, Any]) -> None:
    view = JobView("an-id", "tiny-triage", "RUNNING", refusals={"delta": "denied: no"}, progress=result)
    told, left = lines_of(view), lines_of(view, hindrances=False)
    assert [line for line in told if line not in left] == [
        "  delta did not admit the job: denied: no",
        "  gamma: denied: `purpose`: not granted (policies/gamma.yaml:12)",
    ]


def test_what_became_of_the_factors_stands_with_its_round(result: dict[str, Any]) -> None:
    told = {"averaging_error": 0.12, "cut_off": 0.01}
    entry = result["history"][-1] | {"factors": told}
    lines = lines_of(view_with(result | {"history": [result["history"][0], entry]}))
    assert lines[-1].endswith(" s); averaging factors would have been off by 12 %, 1 % cut off")
    assert lines[-2].endswith(" s)")
