# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from tests.policies.world import World, view_of


@pytest.mark.parametrize("said", ["mask", "keep", "refuse"])
def test_allows_where_the_policy_says_what_is_done(world: World, said: str) -> None:
    world.site["datasets"]["clinical-notes"]["free_text"] = said
    assert world.effects("free-text") == ["allow", "allow"]
    assert world.outcomes("free-text")[0].message == f"free text is dealt with: `{said}`"


def test_a_site_that_does_not_say_denies_a_job_that_reads_free_text(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]["free_text"]
    refusal = world.refusal("free-text")
    assert refusal.message == "the job reads free text, `note`, and the policy states no `free_text`"
    assert world.line(refusal.policy_at) == "clinical-notes:"


def test_a_baseline_that_does_not_say_leaves_it_to_the_site(world: World) -> None:
    del world.baseline["datasets"]["clinical-notes"]["free_text"]
    assert world.effects("free-text") == ["allow", "not-applicable"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_refuse_denies_a_view_in_which_anything_is_found_and_does_not_say_how_much(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["datasets"]["clinical-notes"]["free_text"] = "refuse"
    world.view = replace(view_of(100), identifying={"note": 17})
    refusal = world.refusal("free-text")
    assert refusal.message == "somebody seems to be named in texts of `note`"
    assert refusal.document == which
    assert "17" not in refusal.sentence()
    world.view = replace(view_of(100), identifying={"note": 0})
    assert world.decide().allowed


def test_what_was_masked_may_be_trained_on(world: World) -> None:
    world.view = replace(view_of(100), identifying={"note": 17})
    assert world.decide().allowed


def test_a_job_that_reads_no_free_text_is_not_asked(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]["free_text"]
    world.ask({"becomes": "statistics", "leaving": None})
    assert world.effects("free-text") == ["not-applicable", "not-applicable"]


def test_a_dataset_that_is_not_granted_is_denied(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("free-text") == ["deny", "allow"]


def test_the_baseline_alone_is_asked_as_a_site_is(world: World) -> None:
    world.silence_baseline()
    assert world.effects("free-text") == ["allow", "not-applicable"]
