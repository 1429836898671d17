# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World, leaving


def tabular(world: World) -> World:
    world.ask({"becomes": "tabular", "leaving": {"tensors": ("model",)}})
    for tree in (world.site, world.baseline):
        tree["may_leave"]["tensors"] = ["model"]
    return world


def test_a_job_that_describes_no_features_is_not_asked(world: World) -> None:
    del world.site["may_leave"]["statistics"]
    assert world.effects("statistics") == [
        "not-applicable",
        "not-applicable",
    ]
    assert world.decide().allowed


def test_allows_where_descriptions_may_leave(world: World) -> None:
    assert tabular(world).effects("statistics") == ["allow", "allow"]
    assert world.decide().allowed


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_where_none_may_leave(world: World, which: str) -> None:
    tabular(world)
    del (world.site if which == "site" else world.baseline)["may_leave"]["statistics"]
    refusal = world.refusal("statistics")
    assert refusal.document == which
    assert world.line(refusal.job_at) == "task: tabular-classification"


@pytest.mark.parametrize("which", ["site", "baseline"])
@pytest.mark.parametrize(("smallest", "allowed"), [(4, False), (5, True), (None, True)])
def test_denies_a_count_that_is_too_small_and_does_not_say_it(
    world: World, which: str, smallest: int | None, allowed: bool
) -> None:
    tabular(world)
    other = world.baseline if which == "site" else world.site
    other["may_leave"]["statistics"] = {"minimum_count": 2}
    world.leaving = leaving(tensors=("model",), smallest_count=smallest)
    if allowed:
        assert world.decide().allowed
        return
    refusal = world.refusal("statistics")
    assert (refusal.document, refusal.message) == (which, "a count of fewer than 5 records would leave")
    assert world.line(refusal.policy_at) == "minimum_count: 5"


@pytest.mark.parametrize("smallest", [float("nan"), -1, 0])
def test_what_is_no_count_is_denied(world: World, smallest: float) -> None:
    tabular(world).leaving = leaving(tensors=("model",), smallest_count=smallest)
    assert "deny" in world.effects("statistics")


def test_a_silent_baseline_leaves_it_to_the_site(world: World) -> None:
    del tabular(world).baseline["may_leave"]
    assert world.effects("statistics") == ["allow", "not-applicable"]
    del world.site["may_leave"]
    assert world.effects("statistics") == ["deny", "not-applicable"]
