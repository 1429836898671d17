# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from tests.policies.world import World, leaving


@pytest.mark.parametrize(
    ("accuracy", "effect"),
    [(0.1, "allow"), (0.99, "allow"), (0.0999, "deny"), (0.991, "deny"), (math.nan, "deny"), (math.inf, "deny")],
)
def test_a_metric_lies_within_its_bounds(world: World, accuracy: float, effect: str) -> None:
    world.leaving = leaving(metrics={"accuracy": accuracy})
    assert set(world.effects("metrics")) == {effect}


def test_a_metric_without_bounds_may_be_any_number(world: World) -> None:
    for tree in (world.site, world.baseline):
        del tree["may_leave"]["metric_bounds"]
    world.leaving = leaving(metrics={"accuracy": -5.0, "loss": 1e9})
    assert world.decide().allowed


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_name_that_may_not_leave(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["may_leave"]["metrics"] = ["accuracy"]
    world.leaving = leaving(metrics={"accuracy": 0.5, "loss": 1.0})
    refusal = world.refusal("metrics")
    assert refusal.message == "metric `loss` is not among those that may leave: `accuracy`"
    assert refusal.document == which
    assert world.line(refusal.policy_at) == "metrics:"


def test_a_refusal_names_the_bound(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(metrics={"accuracy": 0.05, "loss": 21.5})
    low, high, _ = world.outcomes("metrics")
    assert low.message == "metric `accuracy` is below its minimum, 0.1"
    assert world.line(low.policy_at) == "minimum: 0.1"
    assert high.message == "metric `loss` is above its maximum, 20"
    assert world.line(high.policy_at) == "maximum: 20.0"


def test_a_name_from_a_trainer_stays_on_its_line(world: World) -> None:
    world.leaving = leaving(metrics={"Ada Lovelace\nhas a cough": 1.0})
    assert "\n" not in world.decide().sentence()


def test_says_nothing_before_something_leaves(world: World) -> None:
    world.leaving = None
    assert world.effects("metrics") == ["not-applicable"] * 2


def test_no_metrics_are_allowed(world: World) -> None:
    world.leaving = leaving(metrics={})
    assert world.effects("metrics") == ["allow", "allow"]
