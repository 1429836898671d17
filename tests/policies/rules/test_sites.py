# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


@pytest.mark.parametrize("minimum", [2, 3])
def test_allows_enough_sites(world: World, minimum: int) -> None:
    world.job["federation"]["minimum_sites"] = minimum
    assert world.effects("sites") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_too_few(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["aggregation"]["minimum_sites"] = 3
    refusal = world.refusal("sites")
    assert refusal.message == "the job may average over 2 sites, and 3 are needed"
    assert world.line(refusal.policy_at) == "minimum_sites: 3"
    assert world.line(refusal.job_at) == "minimum_sites: 2"


def test_a_job_that_does_not_say_has_the_models_minimum(world: World) -> None:
    del world.job["federation"]["minimum_sites"]
    assert world.decide().allowed
    world.site["aggregation"]["minimum_sites"] = 3
    assert world.line(world.refusal("sites").job_at) == "federation:"
