# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World, leaving


def test_allows_what_may_leave(world: World) -> None:
    assert world.effects("tensors") == ["allow", "allow"]


@pytest.mark.parametrize("which", ["site", "baseline"])
@pytest.mark.parametrize(
    ("granted", "missing", "asked"), [("adapter", "head", "task: text-classification"), ("head", "adapter", "lora:")]
)
@pytest.mark.parametrize("begun", [True, False])
def test_denies_a_job_that_sends_more_before_anything_is_trained(
    world: World, which: str, granted: str, missing: str, asked: str, begun: bool
) -> None:
    (world.site if which == "site" else world.baseline)["may_leave"]["tensors"] = [granted]
    world.leaving = leaving() if begun else None
    refusal = world.refusal("tensors")
    assert refusal.message == f"the job sends tensors of its {missing}, and what may leave is `{granted}`"
    assert refusal.document == which
    assert world.line(refusal.job_at) == asked


def test_denies_a_part_that_has_no_name(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(tensors=("adapter", "optimiser"))
    assert world.refusal("tensors").message == "tensors of kind `optimiser` may not leave"


def test_an_answer_without_tensors_is_allowed(world: World) -> None:
    world.leaving = leaving(tensors=(), norm=None)
    assert world.decide().allowed


def test_a_silent_baseline_leaves_it_to_the_site(world: World) -> None:
    del world.baseline["may_leave"]
    assert world.effects("tensors") == ["allow", "not-applicable"]


def test_a_head_that_stays_at_the_sites_need_not_be_granted(world: World) -> None:
    for document in (world.site, world.baseline):
        document["may_leave"]["tensors"] = ["adapter"]
    world.job["aggregation"], world.leaving = {"personal": ["classifier"]}, None
    assert world.effects("tensors") == ["allow", "allow"]
    world.leaving = leaving(tensors=("adapter",))
    assert world.effects("tensors") == ["allow", "allow"]
    world.baseline["may_leave"]["tensors"] = ["adapter", "head"]
    world.leaving = leaving(tensors=("adapter", "head"))  # of a base model whose head has a layer more
    assert world.refusal("tensors").message == "tensors of kind `head` may not leave"
    world.site["may_leave"]["tensors"] = ["adapter", "head"]
    assert world.effects("tensors") == ["allow", "allow"]
    world.job["aggregation"] = {"personal": ["LayerNorm"]}
    world.site["may_leave"]["tensors"] = ["adapter"]
    assert world.refusal("tensors").message == "the job sends tensors of its head, and what may leave is `adapter`"
