# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.errors import DeniedError
from cloister.policies import rank_at
from tests.policies.world import World


def content_with(world: World, least: int) -> None:
    world.job["method"]["lora"]["minimum_rank"] = least
    world.job["aggregation"] = {"factors": "refactored"}


def rank(world: World) -> int | None:
    return rank_at(world.request().job.value, world.policies())


@pytest.mark.parametrize(
    ("asked", "minimum", "own", "floor", "found"),
    [
        (8, None, 16, 16, 8),
        (8, None, 8, 8, 8),
        (8, 2, 16, 16, 8),
        (8, 2, 4, 16, 4),
        (8, 2, 16, 4, 4),
        (8, 2, 3, 2, 2),
        (8, 8, 8, 8, 8),
    ],
)
def test_is_what_is_asked_or_what_both_grant(
    world: World, asked: int, minimum: int | None, own: int, floor: int, found: int
) -> None:
    world.job["method"]["lora"]["rank"] = asked
    if minimum:
        content_with(world, minimum)
    world.site["methods"]["lora"]["maximum_rank"] = own
    world.baseline["methods"]["lora"]["maximum_rank"] = floor
    assert rank(world) == found
    assert set(world.effects("method")) == {"allow"}


@pytest.mark.parametrize(("minimum", "own", "floor"), [(None, 7, 16), (None, 16, 7), (3, 2, 16), (3, 16, 2)])
def test_less_than_the_job_needs_is_denied(world: World, minimum: int | None, own: int, floor: int) -> None:
    if minimum:
        content_with(world, minimum)
    world.site["methods"]["lora"]["maximum_rank"] = own
    world.baseline["methods"]["lora"]["maximum_rank"] = floor
    with pytest.raises(DeniedError) as caught:
        rank(world)
    least = minimum or 8
    assert str(caught.value) == f"job `triage-notes` asks for a rank of {least} at least, which is not granted here"
    assert "deny" in world.effects("method")


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_a_policy_that_grants_no_such_method_denies(world: World, which: str) -> None:
    del (world.site if which == "site" else world.baseline)["methods"]["lora"]
    with pytest.raises(DeniedError):
        rank(world)


def test_a_site_that_says_nothing_of_methods_denies_and_a_baseline_sets_no_floor(world: World) -> None:
    world.silence_baseline()
    world.site["methods"]["lora"]["maximum_rank"] = 8
    assert rank(world) == 8
    del world.site["methods"]
    with pytest.raises(DeniedError):
        rank(world)


@pytest.mark.parametrize("other", ["whole", "tabular", "statistics"])
def test_other_methods_have_no_rank(world: World, other: str) -> None:
    world.ask({"becomes": other})
    assert rank(world) is None
