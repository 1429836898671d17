# SPDX-License-Identifier: Apache-2.0
"""What the server takes of what sites announce before the first round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloister.documents import Document, load, parse
from cloister.errors import JobError
from cloister.flare.exchange import Refusal, Settled, TaskName
from cloister.flare.rounds import Rounds
from cloister.jobs import Job
from cloister.jobs.statistics import FeatureStatistics, Histogram, NumberSummary
from tests.flare.server_rounds import (
    LAYOUT,
    SITES,
    open_rounds,
    opened,
    prepared,
    state,
)
from tests.tabular_federation import TABULAR_JOB, make_tabular_federation


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"tensors": []},
        {"tensors": 5, "head_modules": []},
        {"tensors": [["a", [2, -3], "zeros"]], "head_modules": []},
        {"tensors": [["a", [], "zeros"]], "head_modules": []},
        {"tensors": [["a", [2], "exec"]], "head_modules": []},
        {"tensors": [["a", [float("inf")], "zeros"]], "head_modules": []},
        {"tensors": [["a", [float("nan")], "zeros"]], "head_modules": []},
        {"tensors": [None], "head_modules": []},
        {"tensors": [["a", {"x": 1}, "zeros"]], "head_modules": []},
    ],
)
def test_a_layout_that_is_none_ends_one_sites_part_only(
    job: Document[Job], tmp_path: Path, layout: dict[str, Any]
) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    assert not rounds.take("alpha", prepared().model_copy(update={"layout": layout}), b"")
    assert state(rounds, "alpha")[0] == "refused"
    assert rounds.take("beta", prepared(), b"")
    assert rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.taking_part == ["beta", "gamma"]


def test_a_site_announces_itself_once_and_in_time(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    assert rounds.take("alpha", prepared(10), b"")
    assert not rounds.take("alpha", prepared(10**9), b"")
    assert rounds.progress()["sites"]["alpha"]["training"] == 10
    rounds.take("beta", prepared(), b"")
    rounds.begin()
    opened(rounds)
    assert not rounds.take("beta", prepared(10**9), b"")
    assert rounds.progress()["sites"]["beta"]["training"] == 18
    assert "in the middle of the job" in state(rounds, "beta")[1]


DESCRIBED = FeatureStatistics(
    records=24,
    features={
        "age": NumberSummary(
            present=24,
            missing=0,
            mean=50.0,
            variance=4.0,
            histogram=Histogram(edges=(0.0, 50.0, 100.0), counts=(10, 14)),
        )
    },
)


def describing(folder: Path) -> Rounds:
    """Rounds of a job that asks for one column in two bins, while its sites prepare."""
    tree = {
        "job": "look",
        "purpose": "care",
        "task": "statistics",
        "dataset": {"name": "stays", "features": ["age"], "histograms": {"age": {"low": 0, "high": 100, "count": 2}}},
        "federation": {"minimum_sites": 2},
    }
    rounds = open_rounds(parse(json.dumps(tree).encode(), Job, name="look.yaml"), folder)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    return rounds


def describe(rounds: Rounds, site: str, **changes: Any) -> bool:
    age = DESCRIBED.features["age"].model_copy(update=changes.pop("age", {}))
    said = DESCRIBED.model_copy(update={"features": {"age": age}, **changes})
    return rounds.take(site, prepared(layout=LAYOUT).model_copy(update={"layout": None, "statistics": said}), b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"records": 23},
        {"records": 25},
        {"features": {}},
        {"age": {"histogram": None}},
        {"age": {"histogram": Histogram(edges=(0.0, 100.0), counts=(24,))}},
        {"age": {"present": 20}},
    ],
)
def test_a_site_that_describes_something_else_does_not_end_the_others_job(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    rounds = describing(tmp_path)
    assert not describe(rounds, "alpha", **changes)
    assert state(rounds, "alpha") == (
        "refused",
        "by the server: the site describes other records or features than the job's",
    )
    assert describe(rounds, "beta")
    assert describe(rounds, "gamma")
    assert rounds.pool().records == 48


def test_numbers_too_large_to_be_added_up_end_a_job_with_a_reason(tmp_path: Path) -> None:
    rounds = describing(tmp_path)
    for site, mean in zip(SITES, (1e308, -1e308, 1e308), strict=True):
        assert describe(rounds, site, age={"mean": mean})
    with pytest.raises(JobError, match="too large to be added up"):
        rounds.pool()


@pytest.mark.parametrize("lost", ["refused", "absent"])
def test_a_site_that_described_its_features_and_is_not_ready_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    root = make_tabular_federation(tmp_path / "federation")
    rounds = open_rounds(load(root / "jobs" / f"{TABULAR_JOB}.yaml", Job), tmp_path)
    # Which columns there are does not matter.
    monkeypatch.setattr("cloister.flare.announcement.answers", lambda *_: True)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    assert all(describe(rounds, site) for site in SITES)
    rounds.pool()
    rounds.ask(TaskName.SETTLE, 0, rounds.taking_part)
    for site in ("alpha", "beta"):
        assert rounds.take(site, Settled(layout=LAYOUT.to_json()), b"")
    if lost == "refused":
        rounds.take("gamma", Refusal(denied=False, reason="the trainer cannot be started"), b"")
    else:
        rounds.absent("gamma", "did not answer before the deadline")
    reason = state(rounds, "gamma")
    rounds.begin()
    number = rounds.next_round()
    assert number == 1
    assert rounds.taking_part == rounds.asked(number) == ["alpha", "beta"]
    assert [task.sites for task in rounds.tasks(number, rounds.asked(number))] == [("alpha", "beta")]
    rounds.ask(TaskName.TRAIN, number, rounds.asked(number))
    assert state(rounds, "gamma") == reason
