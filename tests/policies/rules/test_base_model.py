# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_allows_a_granted_base_model(world: World) -> None:
    assert world.effects("base-model") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "another", "is not granted"),
        ("sha256", "1" * 64, "another sha256"),
        ("licence", "mit", "another licence"),
    ],
)
def test_denies_where_one_part_differs(world: World, which: str, key: str, value: str, said: str) -> None:
    (world.site if which == "site" else world.baseline)["base_models"][0][key] = value
    refusal = world.refusal("base-model")
    assert said in refusal.message
    assert refusal.policy_at.startswith(which)
    assert world.line(refusal.job_at).startswith(f"{key}:")


def test_parts_of_different_entries_do_not_make_a_grant(world: World) -> None:
    entry = world.site["base_models"][0]
    world.site["base_models"] = [{**entry, "licence": "mit"}, {**entry, "sha256": "1" * 64}]
    assert world.refusal("base-model").message.endswith("another licence than `apache-2.0`")


def test_one_of_several_entries_of_a_name_is_enough(world: World) -> None:
    entry = world.site["base_models"][0]
    world.site["base_models"] = [{**entry, "sha256": "1" * 64}, entry]
    assert world.decide().allowed


def test_denies_a_base_model_that_the_silo_has_no_place_for(world: World) -> None:
    world.silo["base_models"] = {}
    refusal = world.refusal("base-model")
    assert "has no place for it" in refusal.message
    assert "silo.yaml" in refusal.message
