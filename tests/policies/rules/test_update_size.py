# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World, leaving


@pytest.mark.parametrize(("size", "effect"), [(0, "allow"), (100, "allow"), (101, "deny"), (-1, "deny")])
def test_a_round_keeps_to_its_bytes(world: World, size: int, effect: str) -> None:
    world.site["may_leave"]["maximum_bytes_per_round"] = 100
    world.leaving = leaving(bytes=size, bytes_before=1000)
    assert world.effects("update-size")[0] == effect


@pytest.mark.parametrize(("before", "effect"), [(0, "allow"), (900, "allow"), (901, "deny"), (-2000, "deny")])
def test_all_rounds_together_keep_to_theirs(world: World, before: int, effect: str) -> None:
    world.site["may_leave"]["maximum_bytes_per_job"] = 1000
    world.leaving = leaving(bytes=100, bytes_before=before)
    assert world.effects("update-size")[0] == effect


def test_refusals_name_what_may_leave_and_not_what_would(world: World) -> None:
    world.silence_baseline()
    world.site["may_leave"].update(maximum_bytes_per_round=100, maximum_bytes_per_job=1000)
    world.leaving = leaving(bytes=101, bytes_before=950)
    of_round, of_job, _ = world.outcomes("update-size")
    assert of_round.message == "this round's bytes are not within the 100 that may leave"
    assert world.line(of_round.policy_at) == "maximum_bytes_per_round: 100"
    assert of_job.message == "with this round the job's bytes are not within the 1000 that may leave"
    assert world.line(of_job.policy_at) == "maximum_bytes_per_job: 1000"


def test_says_nothing_before_something_leaves(world: World) -> None:
    world.leaving = None
    assert world.effects("update-size") == ["not-applicable"] * 2


def test_a_job_without_a_limit_of_its_own_is_limited_by_its_rounds(world: World) -> None:
    world.silence_baseline()
    del world.site["may_leave"]["maximum_bytes_per_job"]
    world.leaving = leaving(bytes_before=10**15)
    assert world.decide().allowed


def test_the_baselines_limit_holds_too(world: World) -> None:
    world.baseline["may_leave"]["maximum_bytes_per_round"] = 10
    assert world.refusal("update-size").document == "baseline"


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.leaving = leaving(bytes=10**9)
    world.waive("update-size")
    assert world.effects("update-size") == ["waived", "waived", "not-applicable"]
    assert world.decide().allowed
