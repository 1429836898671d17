# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


@pytest.mark.parametrize("rank", [1, 8, 16])
def test_allows_up_to_the_maximum_rank(world: World, rank: int) -> None:
    world.job["method"]["lora"]["rank"] = rank
    assert world.effects("method") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_higher_rank(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["methods"]["lora"]["maximum_rank"] = 7
    refusal = world.refusal("method")
    assert refusal.message == "rank 8 is above the maximum of 7"
    assert world.line(refusal.policy_at) == "maximum_rank: 7"
    assert world.line(refusal.job_at) == "rank: 8"


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_each_target_that_is_not_listed(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["methods"]["lora"]["targets"] = ["value"]
    refusal = world.refusal("method")
    assert refusal.message == "target `query` is not among the granted targets: `value`"
    assert world.line(refusal.job_at) == "- query"


def test_a_target_is_compared_as_a_whole(world: World) -> None:
    world.job["method"]["lora"]["targets"] = ["attention.self.query"]
    assert world.effects("method") == ["deny", "deny"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_where_no_method_is_named(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["methods"] = {}
    assert world.refusal("method").message == "method `lora` is not granted"
