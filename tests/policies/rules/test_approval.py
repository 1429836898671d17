# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest

from tests.policies.world import NOW, World


@pytest.mark.parametrize(
    ("until", "effect"), [("2026-06-01", "allow"), ("2026-05-31", "deny"), ("2030-01-01", "allow")]
)
def test_holds_up_to_and_including_its_last_day(world: World, until: str, effect: str) -> None:
    world.site["datasets"]["clinical-notes"]["approval"]["until"] = until
    assert world.effects("approval") == [effect, "allow"]


def test_a_refusal_names_the_approval_and_the_day(world: World) -> None:
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["approval"] = {
        "kind": "consent",
        "reference": "form 3 of 2024",
        "until": "2026-05-31",
    }
    refusal = world.refusal("approval")
    assert refusal.message == "the consent approval `form 3 of 2024` ended on 2026-05-31 and today is 2026-06-01"
    assert world.line(refusal.policy_at) == "until: '2026-05-31'"
    assert world.line(refusal.job_at) == "name: clinical-notes"


def test_is_asked_anew_while_the_job_runs(world: World) -> None:
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["approval"]["until"] = "2026-06-01"
    assert world.decide().allowed
    world.now = NOW + timedelta(days=1)
    assert world.refusal("approval").rule == "approval"


def test_an_approval_that_is_not_stated_is_not_asked_for(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]["approval"]
    assert world.effects("approval") == ["not-applicable", "allow"]


def test_a_dataset_that_is_not_granted_is_not_approved(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("approval") == ["deny", "allow"]


def test_the_baseline_alone_can_end_an_approval(world: World) -> None:
    world.baseline["datasets"]["clinical-notes"]["approval"]["until"] = "2026-05-31"
    assert world.refusal("approval").document == "baseline"
