# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from tests.policies.world import World, view_of


@pytest.mark.parametrize("records", [100, 101, 10**9])
def test_allows_enough(world: World, records: int) -> None:
    world.view = view_of(records)
    assert world.effects("records") == ["allow", "allow"]


@pytest.mark.parametrize("records", [99, 0, -1])
def test_denies_too_few(world: World, records: int) -> None:
    world.view = view_of(records)
    assert world.effects("records") == ["deny", "deny"]
    refusal = world.outcomes("records")[0]
    assert refusal.message == f"the view holds {records} records to train on and needs 100"
    assert world.line(refusal.policy_at) == "minimum_records: 100"


def test_the_larger_minimum_counts(world: World) -> None:
    world.baseline["datasets"]["clinical-notes"]["minimum_records"] = 200
    assert world.refusal("records").policy_at.startswith("baseline")


def test_says_nothing_before_the_view_is_written(world: World) -> None:
    world.view = None
    assert world.effects("records") == ["not-applicable", "not-applicable"]
    assert world.decide().allowed


def test_denies_any_number_of_a_dataset_that_is_not_granted(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("records") == ["deny", "allow"]


def test_does_not_tell_how_many_records_a_site_has(world: World) -> None:
    world.view = view_of(123_456)
    assert "123456" not in str(world.decide().to_json())


def test_can_be_waived(world: World) -> None:
    world.silence_baseline()
    world.view = view_of(99)
    world.waive("records")
    assert world.effects("records") == ["waived", "not-applicable"]
    assert world.decide().allowed


@pytest.mark.parametrize(("kept", "effect"), [(0, "allow"), (12, "allow"), (11, "deny"), (1, "deny"), (-1, "deny")])
def test_metrics_are_of_enough_records_or_of_none(world: World, kept: int, effect: str) -> None:
    world.view = replace(view_of(100), validation=kept)
    assert world.effects("records") == [effect, effect]


@pytest.mark.parametrize(("kept", "effect"), [(0, "allow"), (10, "allow"), (9, "deny"), (1, "deny"), (-1, "deny")])
def test_a_site_that_states_no_minimum_has_one(world: World, kept: int, effect: str) -> None:
    for tree in (world.site, world.baseline):
        del tree["datasets"]["clinical-notes"]["minimum_validation_records"]
    world.view = replace(view_of(100), validation=kept)
    assert world.effects("records") == [effect, "allow"]


def test_a_site_may_state_a_smaller_minimum(world: World) -> None:
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["minimum_validation_records"] = 1
    world.view = replace(view_of(100), validation=1)
    assert world.decide().allowed


def test_a_minimum_that_was_never_written_cannot_be_waived(world: World) -> None:
    world.silence_baseline()
    world.waive("records")
    world.view = replace(view_of(99), validation=9)
    assert world.effects("records") == ["waived", "waived", "not-applicable"]
    del world.site["datasets"]["clinical-notes"]["minimum_validation_records"]
    assert world.effects("records") == ["waived", "deny", "not-applicable"]
    assert not world.decide().allowed
