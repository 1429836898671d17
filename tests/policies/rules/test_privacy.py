# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_says_nothing_where_none_is_required(world: World) -> None:
    assert world.effects("privacy") == ["not-applicable"] * 2


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_where_it_is_required_because_it_cannot_be_kept(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["privacy"] = {"unit": "person", "epsilon": 3, "delta": 1e-05}
    refusal = world.refusal("privacy")
    assert refusal.message == (
        "the policy requires differential privacy of each person (epsilon 3, delta 1e-05), "
        "and this version of Cloister cannot keep it"
    )
    assert refusal.document == which
    assert world.line(refusal.policy_at) == "privacy:"
