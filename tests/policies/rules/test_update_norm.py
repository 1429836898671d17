# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from tests.policies.world import World, leaving


@pytest.mark.parametrize(
    ("norm", "effect"),
    [(0.0, "allow"), (10.0, "allow"), (10.000001, "deny"), (math.inf, "deny"), (math.nan, "deny"), (-1.0, "deny")],
)
def test_an_update_is_no_longer_than_it_may_be(world: World, norm: float, effect: str) -> None:
    world.leaving = leaving(norm=norm)
    assert world.effects("update-norm") == [effect, effect]


def test_a_refusal_names_both_numbers(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(norm=12.5)
    refusal = world.refusal("update-norm")
    assert refusal.message == "the update's norm may be 10, and is larger"
    assert world.line(refusal.policy_at) == "maximum_norm: 10.0"


def test_tensors_that_nobody_measured_stay(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(norm=None)
    assert world.refusal("update-norm").message == "the update's norm may be 10, and is not known"


def test_an_answer_without_tensors_has_no_norm(world: World) -> None:
    world.leaving = leaving(norm=None, tensors=())
    assert world.effects("update-norm") == ["not-applicable"] * 2
    assert world.decide().allowed


def test_says_nothing_before_something_leaves(world: World) -> None:
    world.leaving = None
    assert world.effects("update-norm") == ["not-applicable"] * 2


def test_a_policy_that_states_no_maximum_says_nothing(world: World) -> None:
    del world.site["may_leave"]["maximum_norm"]
    world.leaving = leaving(norm=1e30)
    assert world.effects("update-norm") == ["not-applicable", "deny"]
    assert world.refusal("update-norm").document == "baseline"


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(norm=11.0)
    world.waive("update-norm")
    assert world.effects("update-norm") == ["waived", "not-applicable"]
    assert world.decide().allowed
