# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


@pytest.mark.parametrize(("sites", "effect"), [(2, "allow"), (3, "deny"), (1, "allow")])
def test_a_result_rests_on_enough_sites(world: World, sites: int, effect: str) -> None:
    world.site["release"]["minimum_sites"] = sites
    assert world.effects("release") == [effect, "allow"]


def test_a_refusal_names_both_numbers(world: World) -> None:
    world.silence_baseline()
    world.site["release"]["minimum_sites"] = 3
    refusal = world.refusal("release")
    assert refusal.message == "the job's result may rest on 2 sites, and 3 are needed"
    assert world.line(refusal.policy_at) == "minimum_sites: 3"
    assert world.line(refusal.job_at) == "minimum_sites: 2"


def test_a_result_that_a_rule_makes_of_one_update_rests_on_one_site(world: World) -> None:
    world.silence_baseline()
    world.job["federation"]["minimum_sites"] = 5
    world.job["aggregation"] = {"rule": {"krum": {"bad_sites": 1}}}
    world.site["aggregation"]["minimum_sites"] = 1
    refusal = world.refusal("release")
    assert refusal.message == (
        "the job's rule `krum` may leave the updates of no more than 1 of 5 sites, and 2 are needed"
    )
    assert world.line(refusal.policy_at) == "minimum_sites: 2"
    assert world.line(refusal.job_at) == "krum:"


def test_a_result_of_mixed_updates_rests_on_those_that_are_mixed(world: World) -> None:
    world.silence_baseline()
    world.job["federation"]["minimum_sites"] = 3
    world.job["aggregation"] = {"rule": {"median": {}}, "mixing": {"bad_sites": 1}}
    assert world.effects("release")[0] == "allow"
    world.site["release"]["minimum_sites"] = 3
    refusal = world.refusal("release")
    assert refusal.message == (
        "the job's `mixing` may leave the updates of no more than 2 of 3 sites, and 3 are needed"
    )
    assert world.line(refusal.job_at) == "mixing:"


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_where_people_must_approve_because_nothing_can_be_held_back(world: World, which: str) -> None:
    tree = world.site if which == "site" else world.baseline
    tree["release"] = {"approved_by": ["nora@north.example"]}
    refusal = world.refusal("release")
    assert refusal.message == (
        "the result must be approved by `nora@north.example`, and this version of Cloister cannot hold a result back"
    )
    assert refusal.document == which
    assert world.line(refusal.policy_at) == "approved_by:"


def test_the_number_of_records_is_no_question_to_one_site(world: World) -> None:
    world.site["release"] = {"minimum_records": 10**12}
    assert world.effects("release") == ["allow", "allow"]


def test_a_policy_that_demands_nothing_says_nothing(world: World) -> None:
    del world.site["release"]
    assert world.effects("release") == ["not-applicable", "allow"]
