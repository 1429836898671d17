# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.policies import ViewFacts
from tests.policies.world import World


@pytest.mark.parametrize(
    ("urgent", "effect"), [(10, "allow"), (9, "deny"), (1, "deny"), (0, "allow"), (-1, "deny"), (10**9, "allow")]
)
def test_a_class_has_enough_records_or_none(world: World, urgent: int, effect: str) -> None:
    world.view = ViewFacts(1000, {"routine": 900, "urgent": urgent})
    assert world.effects("classes") == [effect, effect]


def test_names_every_class_that_stands_out_and_not_how_many(world: World) -> None:
    world.silence_baseline()
    world.view = ViewFacts(1000, {"urgent": 7, "routine": 8})
    own = world.outcomes("classes")[:-1]
    assert [outcome.message for outcome in own] == [
        "class `routine` has fewer than 10 records to train on in the view",
        "class `urgent` has fewer than 10 records to train on in the view",
    ]
    assert world.line(own[0].policy_at) == "minimum_per_class: 10"


def test_says_nothing_before_the_view_is_written(world: World) -> None:
    world.view = world.leaving = None
    assert world.effects("classes") == ["not-applicable"] * 2


def test_a_policy_that_states_no_minimum_says_nothing(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]["minimum_per_class"]
    world.view = ViewFacts(1000, {"routine": 999, "urgent": 1})
    assert world.effects("classes") == ["not-applicable", "deny"]
    assert world.refusal("classes").document == "baseline"


def test_a_dataset_that_is_not_granted_is_denied(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("classes") == ["deny", "allow"]


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.view = ViewFacts(1000, {"routine": 999, "urgent": 1})
    world.waive("classes")
    assert world.effects("classes") == ["waived", "not-applicable"]
    assert world.decide().allowed


@pytest.mark.parametrize(
    ("training", "validation", "effect"),
    [(0, 10, "allow"), (0, 9, "deny"), (0, 1, "deny"), (0, 0, "allow"), (10, 1, "allow"), (9, 5, "deny")],
)
def test_a_small_class_cannot_lie_in_validation_as_a_whole(
    world: World, training: int, validation: int, effect: str
) -> None:
    kept = {"routine": 100, "urgent": validation}
    world.view = ViewFacts(1000, {"routine": 900, "urgent": training}, 100 + validation, kept)
    assert world.effects("classes") == [effect, effect]


def test_a_class_that_only_validation_knows_is_counted(world: World) -> None:
    world.view = ViewFacts(1000, {"routine": 1000}, 109, {"routine": 100, "urgent": 9})
    assert world.effects("classes") == ["deny", "deny"]


def calibrated(world: World) -> None:
    world.job.pop("code")
    world.code = None
    world.job["aggregation"] = {"client": {"calibration": {}}}


@pytest.mark.parametrize("at", ["submission", "view", "egress"])
def test_calibrated_losses_need_a_minimum_in_the_sites_own_policy(world: World, at: str) -> None:
    calibrated(world)
    if at != "egress":
        world.leaving = None
    if at == "submission":
        world.view = None
    assert world.decide().allowed
    del world.baseline["datasets"]["clinical-notes"]["minimum_per_class"]
    assert world.decide().allowed
    del world.site["datasets"]["clinical-notes"]["minimum_per_class"]
    refusal = world.refusal("classes")
    assert refusal.message == "losses are calibrated by class, and the policy states no `minimum_per_class`"
    assert world.line(refusal.policy_at) == "clinical-notes:"
    assert world.line(refusal.job_at) == "calibration: {}"


def test_no_waiver_lets_a_calibrated_job_do_without(world: World) -> None:
    calibrated(world)
    world.silence_baseline()
    del world.site["datasets"]["clinical-notes"]["minimum_per_class"]
    world.waive("classes")
    assert not world.decide().allowed


def test_calibrated_losses_do_not_lower_the_minimum(world: World) -> None:
    calibrated(world)
    world.view = ViewFacts(1000, {"routine": 991, "urgent": 9})
    assert world.effects("classes") == ["deny", "deny"]
