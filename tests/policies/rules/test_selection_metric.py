# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_allows_a_metric_that_may_leave(world: World) -> None:
    world.job["select_by"] = {"metric": "loss", "mode": "minimum"}
    assert world.effects("selection-metric") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_metric_that_stays(world: World, which: str) -> None:
    world.leaving = None
    world.job["select_by"] = {"metric": "accuracy"}
    (world.site if which == "site" else world.baseline)["may_leave"]["metrics"] = ["loss"]
    refusal = world.refusal("selection-metric")
    assert refusal.message == "metric `accuracy` is not among those that may leave: `loss`"
    assert refusal.policy_at.startswith(which)
    assert world.line(refusal.job_at) == "metric: accuracy"


def test_a_job_that_does_not_say_is_picked_by_accuracy(world: World) -> None:
    world.leaving = None
    assert world.decide().allowed
    world.site["may_leave"]["metrics"] = ["loss"]
    assert "`accuracy`" in world.refusal("selection-metric").message
