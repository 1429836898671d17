# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.policies import Effect
from tests.policies.world import World


def test_allows_granted_columns(world: World) -> None:
    assert world.effects("columns") == ["allow", "allow"]


@pytest.mark.parametrize(("column", "key"), [("note", "text"), ("triage", "label")])
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_column_that_is_not_granted(world: World, which: str, column: str, key: str) -> None:
    (world.site if which == "site" else world.baseline)["datasets"]["clinical-notes"]["columns"].remove(column)
    refusal = world.refusal("columns")
    assert f"`{column}` is not among the granted columns" in refusal.message
    assert refusal.policy_at.startswith(which)
    assert world.line(refusal.job_at) == f"{key}: {column}"


def test_denies_an_identifier_even_where_it_is_granted(world: World) -> None:
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["columns"].append("patient_id")
    world.job["dataset"]["text"] = "patient_id"
    assert world.refusal("columns").message == "column `patient_id` is an identifier, and no job may read one"


def test_denies_a_column_that_the_silo_has_not(world: World) -> None:
    del world.silo["datasets"]["clinical-notes"]["columns"]["note"]
    refusal = world.refusal("columns")
    assert "has no column `note`" in refusal.message
    assert "silo.yaml" in refusal.message


def test_denies_every_column_where_the_silo_has_no_such_dataset(world: World) -> None:
    world.silo["datasets"]["letters"] = world.silo["datasets"].pop("clinical-notes")
    assert world.effects("columns") == ["deny", "deny", "allow"]


def test_denies_where_the_dataset_is_not_granted(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("columns") == ["deny", "allow"]


@pytest.mark.parametrize("labels", [["routine", "urgent", "soon"], ["routine", "soon"]])
def test_denies_labels_that_are_not_the_declared_values(world: World, labels: list[str]) -> None:
    world.job["dataset"]["labels"] = labels
    refusal = world.refusal("columns")
    assert "labels are not the values of column `triage`" in refusal.message
    assert world.line(refusal.job_at) == "labels:"


def test_denies_labels_that_leave_out_a_declared_value(world: World) -> None:
    world.silo["datasets"]["clinical-notes"]["columns"]["triage"]["values"].append("soon")
    assert "labels are not the values" in world.refusal("columns").message


def test_denies_a_label_column_that_is_not_a_category(world: World) -> None:
    world.silo["datasets"]["clinical-notes"]["columns"]["triage"] = {"kind": "text"}
    assert "labels are not the values" in world.refusal("columns").message


def test_the_order_of_labels_is_the_jobs_own(world: World) -> None:
    world.job["dataset"]["labels"].reverse()
    assert world.decide().allowed


def cohort(world: World, task: str, features: list[str]) -> None:
    """A dataset with an outcome, `stay`, and a job that takes ``features``."""
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["columns"] = ["age", "stay", "days"]
    world.silo["datasets"]["clinical-notes"] = {
        "connector": {
            "kind": "omop",
            "source": {"kind": "csv-folder", "path": "cdm"},
            "cohort": {"entry": {"domain": "condition", "concepts": [316139]}},
            "fields": {"patient_id": {"person": "id"}, "age": {"age": "at-index"}},
            "outcomes": {
                "stay": {"take": "time-to", "domain": "visit"},
                "days": {"take": "time-to", "domain": "death"},
            },
        },
        "columns": {
            "patient_id": {"kind": "identifier"},
            "age": {"kind": "integer"},
            "stay": {"kind": "integer"},
            "days": {"kind": "integer"},
        },
        "person": "patient_id",
    }
    world.job["dataset"] = {"name": "clinical-notes", "features": features}
    for key in ("base_model", "code"):
        world.job.pop(key, None)
    if task == "statistics":
        for key in ("method", "training", "architecture"):
            world.job.pop(key, None)
        world.job["federation"] = {"rounds": 1, "minimum_sites": 2}
    else:
        world.job["dataset"]["target"] = "days"
        world.job |= {"architecture": {"mlp": {"hidden": [4]}}, "method": {"full": {}}}
    world.job["task"] = task


def test_denies_a_network_what_came_after_it_would_be_asked(world: World) -> None:
    cohort(world, "tabular-regression", ["age", "stay"])
    refusal = next(outcome for outcome in world.outcomes("columns") if outcome.effect is Effect.DENY)
    assert refusal.message == "column `stay` looks past the index event, and no network may be given such"
    assert world.line(refusal.job_at) == "- stay"


def test_an_outcome_can_be_foreseen_and_described(world: World) -> None:
    cohort(world, "tabular-regression", ["age"])
    assert world.effects("columns") == ["allow", "not-applicable"]
    cohort(world, "statistics", ["age", "stay"])
    assert world.effects("columns") == ["allow", "not-applicable"]
