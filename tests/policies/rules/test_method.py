# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cloister.policies import decide
from tests.policies.world import NOW, World


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


@pytest.mark.parametrize(
    ("method", "key", "message"),
    [
        ({"full": {}}, "networks", "training `base-model` whole is not granted: nothing is"),
        ({"ia3": {"targets": ["key"]}}, "targets", "target `key` is not among the granted targets: none"),
    ],
)
def test_an_empty_list_past_the_model_grants_nothing(
    world: World, method: dict[str, Any], key: str, message: str
) -> None:
    world.job["method"] = method
    (name,) = method
    policies = world.policies()
    own = policies.site.value
    assert own.methods is not None
    grant = getattr(own.methods, name).model_copy(update={key: ()})
    emptied = own.model_copy(update={"methods": own.methods.model_copy(update={name: grant})})
    policies = dataclasses.replace(policies, site=dataclasses.replace(policies.site, value=emptied))
    refusals = decide(world.request(), policies, NOW).refusals
    assert [refusal.message for refusal in refusals if refusal.rule == "method"] == [message]


@pytest.mark.parametrize("name", ["lora", "ia3", "prompt", "prefix", "bitfit", "full"])
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_each_method_is_granted_by_itself(world: World, name: str, which: str) -> None:
    ways: dict[str, Any] = {"ia3": {"targets": ["key"]}, "prompt": {"tokens": 1}, "prefix": {"tokens": 1}}
    world.job["method"] = {name: ways.get(name, {})} if name != "lora" else world.job["method"]
    assert world.effects("method") == ["allow", "allow"]
    tree = world.site if which == "site" else world.baseline
    del tree["methods"][name]
    (refusal,) = [each for each in world.decide().refusals if each.rule == "method"]
    assert refusal.message == f"method `{name}` is not granted"
    assert world.line(refusal.job_at).startswith(f"{name}:")
