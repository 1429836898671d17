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


def asks_for(world: World, rule: dict[str, object], sites: int) -> None:
    world.job["federation"]["minimum_sites"] = sites
    world.job["aggregation"] = {"rule": rule}
    for tree in (world.site, world.baseline):
        tree.pop("release", None)


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_a_rule_that_passes_on_one_update_averages_over_one_site(world: World, which: str) -> None:
    asks_for(world, {"krum": {"bad_sites": 1}}, 5)
    other = world.baseline if which == "site" else world.site
    other["aggregation"]["minimum_sites"] = 1
    assert world.refusal("sites").message == (
        "the job's rule `krum` may leave the updates of no more than 1 of 5 sites, and 2 are needed"
    )
    assert world.line(world.refusal("sites").policy_at) == "minimum_sites: 2"
    assert world.line(world.refusal("sites").job_at) == "krum:"


@pytest.mark.parametrize(("sites", "least", "effect"), [(5, 2, "allow"), (5, 3, "deny"), (6, 3, "allow")])
def test_a_rule_that_chooses_some_averages_over_those(world: World, sites: int, least: int, effect: str) -> None:
    world.silence_baseline()
    asks_for(world, {"multi_krum": {"bad_sites": 1}}, sites)
    world.site["aggregation"]["minimum_sites"] = least
    assert world.effects("sites")[0] == effect


@pytest.mark.parametrize("rule", [{"median": {}}, {"trimmed_mean": {"bad_sites": 1}}, {"geometric_median": {}}])
def test_a_rule_that_mixes_the_values_of_all_averages_over_all(world: World, rule: dict[str, object]) -> None:
    asks_for(world, rule, 3)
    assert world.effects("sites") == ["allow", "allow"]


def test_one_update_is_granted_where_one_site_is_enough(world: World) -> None:
    world.silence_baseline()
    asks_for(world, {"krum": {"bad_sites": 1}}, 5)
    world.site["aggregation"]["minimum_sites"] = 1
    assert world.effects("sites")[0] == "allow"


@pytest.mark.parametrize(
    ("rule", "bad", "sites", "least", "effect"),
    [
        ({"krum": {"bad_sites": 1}}, 1, 5, 4, "allow"),
        ({"krum": {"bad_sites": 1}}, 1, 5, 5, "deny"),
        ({"median": {}}, 2, 5, 3, "allow"),
        ({"median": {}}, 2, 5, 4, "deny"),
    ],
)
def test_mixed_updates_are_averages_over_those_that_are_mixed(
    world: World, rule: dict[str, object], bad: int, sites: int, least: int, effect: str
) -> None:
    world.silence_baseline()
    asks_for(world, rule, sites)
    world.job["aggregation"]["mixing"] = {"bad_sites": bad}
    world.site["aggregation"]["minimum_sites"] = least
    assert world.effects("sites")[0] == effect
    if effect == "deny":
        most = f"no more than {sites - bad} of {sites} sites"
        assert world.refusal("sites").message == (
            f"the job's `mixing` may leave the updates of {most}, and {least} are needed"
        )
        assert world.line(world.refusal("sites").job_at) == "mixing:"
