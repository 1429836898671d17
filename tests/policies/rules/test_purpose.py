# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_allows_a_granted_purpose(world: World) -> None:
    assert world.effects("purpose") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_another_purpose(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["purposes"] = ["research"]
    refusal = world.refusal("purpose")
    assert refusal.message == "purpose `care-improvement` is not among the granted purposes: `research`"
    assert refusal.policy_at.startswith(which)
    assert world.line(refusal.policy_at) == "purposes:"
    assert world.line(refusal.job_at) == "purpose: care-improvement"


def test_a_purpose_is_compared_as_a_whole(world: World) -> None:
    world.job["purpose"] = "care"
    world.site["datasets"]["clinical-notes"].pop("purposes")
    world.baseline["datasets"]["clinical-notes"].pop("purposes")
    assert {refusal.rule for refusal in world.decide().refusals} == {"purpose"}
