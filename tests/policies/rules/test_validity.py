# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest

from cloister.policies import Policies, decide
from tests.policies.world import World

FIRST, LAST = date(2026, 1, 1), date(2027, 12, 31)


@pytest.mark.parametrize("today", [FIRST, date(2026, 6, 1), LAST])
def test_counts_from_the_first_to_the_last_day(world: World, today: date) -> None:
    world.now = datetime.combine(today, time(23, 59), UTC)
    assert world.effects("validity") == ["allow", "allow"]


@pytest.mark.parametrize(("today", "key"), [(date(2025, 12, 31), "valid_from"), (date(2028, 1, 1), "valid_until")])
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_before_and_after(world: World, today: date, key: str, which: str) -> None:
    del world.site["hours"], world.baseline["hours"]
    other = world.baseline if which == "site" else world.site
    other.update(valid_from="2000-01-01", valid_until="2100-01-01")
    world.now = datetime.combine(today, time(23, 59), UTC)
    refusal = world.refusal("validity")
    assert world.line(refusal.policy_at).startswith(f"{key}:")
    assert str(today) in refusal.message


def test_denies_the_policy_of_another_site(world: World) -> None:
    world.site["policy"] = "hospital-river"
    assert "`hospital-river`, not of `hospital-north`" in world.refusal("validity").message


def test_denies_a_baseline_in_the_place_of_the_sites_own(world: World) -> None:
    world.site = world.baseline
    assert "`baseline`, not of `hospital-north`" in world.refusal("validity").message


def test_denies_a_sites_policy_in_the_place_of_the_baseline(world: World) -> None:
    world.baseline = world.site
    assert "`hospital-north`, not of `baseline`" in world.refusal("validity").message


@pytest.mark.parametrize(
    "now", [datetime(2026, 6, 1, 12), datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))]
)
def test_a_moment_that_is_not_in_utc_denies(world: World, now: datetime) -> None:
    world.now = now
    decision = world.decide()
    assert {outcome.message for outcome in decision.outcomes} == {"the rule failed: ValueError"}
    assert not decision.allowed


def test_denies_a_sites_policy_that_extends_nothing_even_past_the_model(world: World) -> None:
    policies = world.policies()
    alone = dataclasses.replace(policies.site, value=policies.site.value.model_copy(update={"extends": None}))
    (refusal,) = decide(world.request(), Policies(alone, policies.baseline), world.now).refusals
    assert (refusal.rule, refusal.message) == ("validity", "the policy does not extend the baseline")
    assert world.line(refusal.policy_at) == "extends: baseline"
