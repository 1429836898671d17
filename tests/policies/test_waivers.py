# SPDX-License-Identifier: Apache-2.0
"""A waiver sets one rule's denials aside, for a while, by the document that it stands in, and says so."""

from __future__ import annotations

import pytest

from cloister.policies import RULES, Effect
from tests.policies.world import World, view_of

WAIVABLE = sorted(rule.id for rule in RULES if rule.waivable)


@pytest.fixture
def short(world: World) -> World:
    """A site with too few records by its own policy."""
    world.silence_baseline()
    world.site["datasets"]["clinical-notes"]["minimum_records"] = 500
    assert world.refusal("records").rule == "records"
    return world


def test_a_waived_denial_is_shown_with_its_reason_and_place(short: World) -> None:
    short.waive("records")
    decision = short.decide()
    assert decision.allowed
    (waived,) = decision.waived
    assert (waived.rule, waived.document, waived.effect) == ("records", "site", Effect.WAIVED)
    assert waived.message.startswith(
        "the view holds 100 records to train on and needs 500; waived until 2026-06-01 by "
    )
    assert "`Nora Lind`" in waived.message
    assert "`a first trial`" in waived.message
    assert waived.message in decision.sentence()
    assert decision.to_json()["outcomes"].count(
        {**vars(waived), "effect": "waived"}  # the very outcome, for a log
    )


@pytest.mark.parametrize(("until", "allowed"), [("2026-06-01", True), ("2026-05-31", False), ("2030-01-01", True)])
def test_counts_up_to_and_including_its_last_day(short: World, until: str, allowed: bool) -> None:
    short.waive("records", until=until)
    assert short.decide().allowed is allowed


@pytest.mark.parametrize(
    ("jobs", "allowed"), [(["triage-notes"], True), (["other"], False), (["other", "triage-notes"], True)]
)
def test_may_be_for_some_jobs_only(short: World, jobs: list[str], allowed: bool) -> None:
    short.waive("records", jobs=jobs)
    assert short.decide().allowed is allowed


def test_a_second_waiver_counts_where_the_first_does_not(short: World) -> None:
    short.waive("records", until="2026-05-31")
    short.waive("records", jobs=["other"])
    short.waive("hours")
    assert not short.decide().allowed
    short.waive("records")
    assert short.decide().allowed


def test_is_of_one_rule_only(short: World) -> None:
    short.waive("classes")
    assert short.refusal("records").rule == "records"


def test_a_sites_waiver_never_touches_the_baseline() -> None:
    world = World()
    for tree in (world.site, world.baseline):
        tree["datasets"]["clinical-notes"]["minimum_records"] = 500
    world.waive("records")
    assert world.effects("records") == ["waived", "deny"]
    assert not world.decide().allowed
    world.waive("records", which="baseline")
    assert world.effects("records") == ["waived", "waived"]
    assert world.decide().allowed


def test_a_baselines_waiver_never_touches_a_site(short: World) -> None:
    short.waive("records", which="baseline")
    assert short.effects("records") == ["deny", "not-applicable"]


def test_a_section_that_was_never_written_cannot_be_waived(world: World) -> None:
    world.silence_baseline()
    del world.site["training"], world.site["may_leave"], world.site["datasets"]
    for rule in WAIVABLE:
        world.waive(rule)
    decision = world.decide()
    assert decision.waived == ()
    assert {"training", "update-size", "update-norm", "records"} <= {refusal.rule for refusal in decision.refusals}


@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_a_limit_that_was_never_written_cannot_be_waived(world: World, unit: str) -> None:
    world.silence_baseline()
    world.waive("training")
    world.job["training"] = {**world.job["training"], "batch_size": 65}
    del world.job["training"]["steps"]
    world.job["training"][unit] = 16
    world.site["training"]["maximum_epochs_per_round"] = 5
    assert set(world.effects("training")) == {"waived", "not-applicable"}
    del world.site["training"][f"maximum_{unit}_per_round"]
    assert world.effects("training") == ["deny", "waived", "not-applicable"]
    assert [refusal.rule for refusal in world.decide().refusals] == ["training"]


def test_what_is_allowed_is_not_waived(world: World) -> None:
    for rule in WAIVABLE:
        world.waive(rule)
    decision = world.decide()
    assert decision.allowed
    assert decision.waived == ()


def test_only_numbers_times_and_sizes_can_be_waived() -> None:
    assert WAIVABLE == ["classes", "hours", "records", "round-records", "training", "update-norm", "update-size"]


def test_waivers_alone_allow_nothing(world: World) -> None:
    for section in ("submitters", "purposes", "base_models", "methods", "code", "aggregation"):
        del world.site[section]
    for rule in WAIVABLE:
        world.waive(rule)
    world.view = view_of(1)
    assert not world.decide().allowed
