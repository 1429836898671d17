# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.policies.world import NOW, World

DAY = {"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "from": "07:00", "until": "19:00"}
NIGHT = {"days": ["friday", "saturday"], "from": "22:00", "until": "06:30"}


@pytest.mark.parametrize(
    ("hours", "moment", "effect"),
    [
        (DAY, "2026-06-01 07:00:00", "allow"),  # a Monday
        (DAY, "2026-06-01 06:59:59", "deny"),
        (DAY, "2026-06-01 18:59:59", "allow"),
        (DAY, "2026-06-01 19:00:00", "deny"),
        (DAY, "2026-06-05 12:00:00", "allow"),
        (DAY, "2026-06-06 12:00:00", "deny"),
        (DAY, "2026-06-07 12:00:00", "deny"),
        (NIGHT, "2026-06-05 21:59:59", "deny"),  # a Friday
        (NIGHT, "2026-06-05 22:00:00", "allow"),
        (NIGHT, "2026-06-06 06:29:59", "allow"),
        (NIGHT, "2026-06-06 06:30:00", "deny"),
        (NIGHT, "2026-06-07 06:29:59", "allow"),
        (NIGHT, "2026-06-08 00:00:00", "deny"),  # Sunday's night is not named
        (NIGHT, "2026-06-05 03:00:00", "deny"),  # nor is Thursday's
    ],
)
def test_allows_from_the_first_minute_to_the_last(
    world: World, hours: dict[str, object], moment: str, effect: str
) -> None:
    world.site["hours"] = hours
    world.now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert world.effects("hours")[0] == effect


@pytest.mark.parametrize("day", range(1, 8))
def test_every_day_has_its_name(world: World, day: int) -> None:
    names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    world.site["hours"] = {**DAY, "days": [names[day - 1]]}
    world.now = NOW.replace(day=day)
    assert world.effects("hours")[0] == "allow"
    world.now = NOW.replace(day=day + 1)
    assert world.effects("hours")[0] == "deny"


def test_a_refusal_says_what_time_it_is(world: World) -> None:
    world.silence_baseline()
    world.now = NOW.replace(hour=21, minute=5)
    refusal = world.refusal("hours")
    assert refusal.message == "jobs may run from 07:00 to 19:00 UTC on monday, tuesday, friday, and it is monday, 21:05"
    assert world.line(refusal.policy_at) == "hours:"


def test_without_hours_any_time_will_do(world: World) -> None:
    del world.site["hours"]
    world.now = NOW.replace(hour=3)
    assert world.effects("hours") == ["not-applicable", "deny"]
    del world.baseline["hours"]
    assert world.decide().allowed


def test_the_baselines_hours_hold_everywhere(world: World) -> None:
    world.baseline["hours"] = {**DAY, "days": ["sunday"]}
    assert world.refusal("hours").document == "baseline"


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.site["hours"]["days"] = ["sunday"]
    world.waive("hours")
    assert world.effects("hours") == ["waived", "not-applicable"]
    assert world.decide().allowed
