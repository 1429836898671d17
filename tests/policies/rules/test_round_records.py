# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World, leaving, view_of


@pytest.mark.parametrize(
    ("steps", "batch_size", "effect"), [(1, 16, "allow"), (16, 1, "allow"), (15, 1, "deny"), (1, 1, "deny")]
)
def test_steps_times_batch_reach_the_minimum(world: World, steps: int, batch_size: int, effect: str) -> None:
    world.job["training"].update(steps=steps, batch_size=batch_size)
    assert world.effects("round-records") == [effect, effect]
    world.view = world.leaving = None
    assert world.effects("round-records") == [effect, effect]


def test_a_refusal_names_the_number(world: World) -> None:
    world.silence_baseline()
    world.job["training"].update(steps=1, batch_size=1)
    refusal = world.refusal("round-records")
    assert refusal.message == "a round trains on 1 records, and 16 are needed"
    assert world.line(refusal.policy_at) == "minimum_records_per_round: 16"
    assert world.line(refusal.job_at) == "steps: 1"


def test_many_steps_over_a_small_view_are_not_many_records(world: World) -> None:
    world.site["training"]["minimum_records_per_round"] = 101
    world.job["training"].update(steps=100, batch_size=64)
    refusal = world.refusal("round-records")
    assert refusal.message == "the view holds 100 records to train on, and a round needs 101"
    world.view = view_of(101)
    assert world.decide().allowed


def epochs(world: World) -> None:
    del world.job["training"]["steps"]
    world.job["training"]["epochs"] = 1


@pytest.mark.parametrize(("records", "effect"), [(16, "allow"), (15, "deny")])
def test_a_pass_over_the_view_is_as_many_as_it_holds(world: World, records: int, effect: str) -> None:
    epochs(world)
    world.view = view_of(records)
    assert world.effects("round-records") == [effect, effect]


def test_passes_are_counted_once_the_view_is_written(world: World) -> None:
    epochs(world)
    world.view = world.leaving = None
    assert world.effects("round-records") == ["not-applicable"] * 2
    assert world.decide().allowed


def test_a_policy_that_states_no_minimum_says_nothing(world: World) -> None:
    del world.site["training"]["minimum_records_per_round"]
    world.job["training"].update(steps=1, batch_size=1)
    assert world.effects("round-records") == ["not-applicable", "deny"]
    assert world.refusal("round-records").document == "baseline"


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.job["training"].update(steps=1, batch_size=1)
    world.waive("round-records")
    assert world.effects("round-records") == ["waived", "not-applicable"]
    assert world.decide().allowed


@pytest.mark.parametrize(
    ("told", "effect"), [(16, "allow"), (15, "deny"), (0, "deny"), (-1, "deny"), (None, "allow"), (10**9, "allow")]
)
def test_what_the_trainer_says_a_round_used_is_held_against_the_minimum(
    world: World, told: int | None, effect: str
) -> None:
    world.leaving = leaving(records=told)
    assert world.effects("round-records") == [effect, effect]


def test_how_many_the_trainer_says_is_not_repeated(world: World) -> None:
    world.leaving = leaving(records=13)
    assert "13" not in world.outcomes("round-records")[0].message
