# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World

MEASURES = [
    ("federation", "rounds", "maximum_rounds"),
    ("training", "steps", "maximum_steps_per_round"),
    ("training", "epochs", "maximum_epochs_per_round"),
    ("training", "batch_size", "maximum_batch_size"),
]


def ask(world: World, section: str, key: str, value: int) -> None:
    if key == "epochs":
        del world.job["training"]["steps"]
    world.job[section][key] = value


@pytest.mark.parametrize(("section", "key", "limit"), MEASURES)
def test_allows_the_limit_itself(world: World, section: str, key: str, limit: str) -> None:
    ask(world, section, key, world.site["training"][limit])
    assert world.effects("training") == ["allow", "allow"]


@pytest.mark.parametrize(("section", "key", "limit"), MEASURES)
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_one_more(world: World, section: str, key: str, limit: str, which: str) -> None:
    ask(world, section, key, world.site["training"][limit])
    policy = world.site if which == "site" else world.baseline
    policy["training"][limit] -= 1
    refusal = world.refusal("training")
    assert refusal.message.startswith(f"`{key}` of ")
    assert world.line(refusal.policy_at) == f"{limit}: {policy['training'][limit]}"
    assert world.line(refusal.job_at).startswith(f"{key}:")


@pytest.mark.parametrize(("key", "limit"), [(key, limit) for _, key, limit in MEASURES if key in ("steps", "epochs")])
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_measure_without_a_limit(world: World, key: str, limit: str, which: str) -> None:
    ask(world, "training", key, 1)
    del (world.site if which == "site" else world.baseline)["training"][limit]
    assert world.refusal("training").message == f"`{key}` is asked for, and the policy states no `{limit}`"


def test_names_everything_that_is_too_much(world: World) -> None:
    world.job["federation"]["rounds"] = 51
    world.job["training"]["batch_size"] = 65
    assert world.effects("training") == ["deny"] * 4


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.job["federation"]["rounds"] = 51
    world.waive("training")
    assert world.effects("training") == ["waived", "not-applicable"]
    assert world.decide().allowed
