# SPDX-License-Identifier: Apache-2.0
"""Whole simulated jobs, with trainers in their sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloister.errors import DeniedError, JobError
from cloister.flare.refusal import TRAINER_FAILED
from cloister.sandbox import Enclosure
from cloister.simulation import site as site_module
from cloister.simulation.crew import Crew, Visitor
from tests.federation_folder import SITES, change_document
from tests.simulation.simulated import comparable, failed, in_order, plan_of, simulated
from tests.tabular_federation import DATASET, STATISTICS_JOB, TABULAR_JOB, make_tabular_federation

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    policy = {"datasets": {DATASET: {"minimum_per_class": 1}}}  # without one no job may calibrate its losses
    return make_tabular_federation(tmp_path / "federation", policy).resolve()


def change_job(root: Path, changes: dict[str, Any]) -> None:
    change_document(root, f"jobs/{TABULAR_JOB}.yaml", changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aggregation": {"client": {"scaffold": {}}}},
        {"aggregation": {"client": {"ditto": {"strength": 0.1}}}},
        {"aggregation": {"client": {"calibration": {}}}, "training": {"schedule": "linear"}},
        {"compression": {"up": "int4", "down": "int8", "error_feedback": True}},
        {"federation": {"sites_per_round": 4, "enough_sites": 3}},
    ],
    ids=["plain", "scaffold", "ditto", "calibration", "int4", "enough"],
)
def test_order_of_sites_and_number_of_workers_do_not_show(root: Path, changes: dict[str, Any]) -> None:
    """Bit for bit: nothing of one site, kept tensors included, reaches another through the trainers that they share."""
    sites = {"federation": {"sites": None}} if "federation" in changes else {}
    change_job(root, sites)
    change_job(root, changes)
    plan = plan_of(root, TABULAR_JOB, 6, workers=2)
    names = [site.name for site in plan.cast.sites]
    first = comparable(simulated(plan))
    backwards = in_order(plan_of(root, TABULAR_JOB, 6, workers=1), names[::-1])
    assert comparable(simulated(backwards)) == first
    assert first["chosen"]["round"] > 0
    assert {site["restarts"] for site in first["sites"].values()} == {0}


def test_with_a_process_for_each_site_it_comes_to_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shared makes no difference to what is not."""
    change_job(root, {"aggregation": {"client": {"scaffold": {}}}})
    plan = plan_of(root, TABULAR_JOB, 4)
    shared = comparable(simulated(plan))
    made = site_module.SiteJob
    monkeypatch.setattr(site_module, "SiteJob", lambda **named: made(**{**named, "make_trainer": None}))
    assert comparable(simulated(plan)) == shared


def test_skewed_shares_make_another_result_the_same_each_time(root: Path) -> None:
    even, skewed, again = (
        comparable(simulated(plan_of(root, TABULAR_JOB, 4, skew=skew, workers=workers)))
        for skew, workers in ((None, 2), (2.0, 2), (2.0, 1))
    )
    assert skewed == again
    assert skewed["adapter_sha256"] != even["adapter_sha256"]
    of_all = [sum(site["training"] for site in result["sites"].values()) for result in (even, skewed)]
    assert of_all[0] == of_all[1]


def test_a_job_that_trains_nothing_describes(root: Path) -> None:
    result = simulated(plan_of(root, STATISTICS_JOB))
    assert set(result["statistics_by_site"]) == set(SITES)


def test_a_site_that_denies_does_not_take_part_and_says_why(root: Path) -> None:
    change_document(root, "policies/gamma.yaml", {"purposes": ["research"]})
    result = simulated(plan_of(root, TABULAR_JOB, 6))
    assert set(result["sites"]) == {"alpha-001", "alpha-002", "beta-001", "beta-002"}


def test_a_gate_that_denies_once_records_are_counted_does_so_for_every_copy(root: Path) -> None:
    change_document(root, "policies/gamma.yaml", {"datasets": {"visits": {"minimum_records": 1000}}})
    sites = simulated(plan_of(root, TABULAR_JOB, 6))["sites"]
    assert [sites[name]["state"] for name in ("gamma-001", "gamma-002")] == ["refused", "refused"]
    assert all("`records`" in sites[name]["reason"] and sites[name]["denied"] for name in ("gamma-001", "gamma-002"))
    assert "(policies/gamma.yaml:" in sites["gamma-002"]["reason"]


def test_a_minimum_is_held_against_the_records_of_the_site_and_not_of_a_copy(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"datasets": {"visits": {"minimum_records": 50}}})
    sites = simulated(plan_of(root, TABULAR_JOB, 6))["sites"]
    assert [sites[name]["state"] for name in ("alpha-001", "alpha-002")] == ["done", "done"]
    assert sites["alpha-001"]["training"] < 50 <= sites["alpha-001"]["training"] + sites["alpha-002"]["training"]


def test_an_update_that_may_not_leave_ends_the_job_as_it_would_there(root: Path) -> None:
    for site in SITES:
        change_document(root, f"policies/{site}.yaml", {"may_leave": {"maximum_norm": 1e-6}})
    error, view = failed(plan_of(root, TABULAR_JOB))
    assert isinstance(error, DeniedError)
    assert f"job `{TABULAR_JOB}` failed: 0 of 3 sites gave an update in round 1" in error.message
    assert "`update-norm`" in view.progress["sites"]["alpha"]["reason"]


def test_too_few_that_admit_the_job_end_it_before_it_begins(root: Path) -> None:
    for site in SITES[:2]:
        change_document(root, f"policies/{site}.yaml", {"purposes": ["research"]})
    error, view = failed(plan_of(root, TABULAR_JOB))
    assert isinstance(error, DeniedError)
    assert "was not admitted by enough sites\n  alpha: denied: `purpose`" in error.message
    assert view.progress == {}


def test_a_gate_whose_code_throws_denies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(site_module, "_as_it_lies", stumble)
    error, view = failed(plan_of(root, TABULAR_JOB))
    assert isinstance(error, JobError)
    assert "the site's job process failed" in view.progress["sites"]["alpha"]["reason"]
    assert "on purpose" not in error.message


def test_a_trainer_that_fails_is_told_in_one_sentence_and_leaves_no_view(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one site of three; the process that failed serves the others again."""
    visitor = Crew.visitor

    def without_records(self: Crew, enclosure: Enclosure, *arguments: Any, **named: Any) -> Visitor:
        assert enclosure.view is not None
        if "beta" in enclosure.view.parts:
            (enclosure.view / "train.parquet").write_bytes(b"none")
        return visitor(self, enclosure, *arguments, **named)

    monkeypatch.setattr(Crew, "visitor", without_records)
    result = simulated(plan_of(root, TABULAR_JOB, workers=1))
    assert result["sites"]["beta"]["reason"] == TRAINER_FAILED
    assert [entry["sites"] for entry in result["history"]] == [["alpha", "gamma"]] * 2


def test_no_record_is_left_anywhere(root: Path) -> None:
    simulated(plan_of(root, TABULAR_JOB, 4))
    left = [path for path in (root / ".cloister").rglob("*") if path.is_file()]
    assert all(path.parent.name == "logs" for path in left)
