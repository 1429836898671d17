# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_allows_a_granted_dataset(world: World) -> None:
    assert world.effects("dataset") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_dataset_that_is_not_listed(world: World, which: str) -> None:
    del (world.site if which == "site" else world.baseline)["datasets"]["clinical-notes"]
    refusals = [outcome for outcome in world.outcomes("dataset") if outcome.effect.value == "deny"]
    assert [refusal.message for refusal in refusals] == ["dataset `clinical-notes` is not granted"]
    assert world.line(refusals[0].policy_at) == "datasets:"
    assert world.line(refusals[0].job_at) == "name: clinical-notes"


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_purpose_that_the_dataset_is_not_for(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["datasets"]["clinical-notes"]["purposes"] = ["research"]
    refusal = world.refusal("dataset")
    assert refusal.message == "dataset `clinical-notes` is granted for `research`, not for `care-improvement`"
    assert world.line(refusal.job_at) == "purpose: care-improvement"


def test_a_dataset_without_purposes_is_for_all_of_the_policys(world: World) -> None:
    world.site["datasets"]["clinical-notes"].pop("purposes")
    assert world.decide().allowed


def test_denies_a_dataset_that_the_silo_has_not(world: World) -> None:
    world.silo["datasets"]["notes"] = world.silo["datasets"].pop("clinical-notes")
    assert world.effects("dataset") == ["deny", "allow"]
    assert "silo.yaml" in world.outcomes("dataset")[0].message
