# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_says_nothing_where_it_is_not_required(world: World) -> None:
    assert world.effects("secure-aggregation") == ["not-applicable"] * 2
    del world.site["aggregation"]
    assert world.effects("secure-aggregation") == ["not-applicable"] * 2


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_where_it_is_required_because_there_is_none(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["aggregation"]["secure_aggregation"] = "required"
    refusal = world.refusal("secure-aggregation")
    assert refusal.message == "the policy requires secure aggregation, and this version of Cloister has none"
    assert refusal.document == which
    assert world.line(refusal.policy_at) == "secure_aggregation: required"
