# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import CODE, World

COMMAND = "`cloister policy approve-code triage-notes --site hospital-north --until DATE`"


def test_allows_code_that_was_approved(world: World) -> None:
    assert world.effects("code") == ["allow", "allow"]


def test_a_job_without_code_is_not_asked_for_any(world: World) -> None:
    world.code = None
    world.site["code"] = "forbidden"
    assert world.effects("code") == ["not-applicable", "not-applicable"]
    assert world.decide().allowed


@pytest.mark.parametrize("digest", ["e" * 64, CODE.upper(), CODE[:-1], "", f"{CODE} "])
def test_denies_any_other_code_and_names_the_command(world: World, digest: str) -> None:
    world.code = digest
    world.silence_baseline()
    refusal = world.refusal("code")
    assert "is not approved" in refusal.message
    assert COMMAND in refusal.message
    assert world.line(refusal.policy_at) == "approved:"


def test_denies_where_code_is_forbidden(world: World) -> None:
    world.site["code"] = "forbidden"
    refusal = world.refusal("code")
    assert refusal.message.startswith("the policy forbids code that jobs bring")
    assert COMMAND in refusal.message
    assert world.line(refusal.policy_at) == "code: forbidden"


def test_silence_forbids(world: World) -> None:
    del world.site["code"]
    refusal = world.refusal("code")
    assert refusal.message.startswith("the policy has no section `code`, which forbids code")
    assert COMMAND in refusal.message


def test_the_baseline_alone_can_forbid_and_no_command_of_a_site_helps(world: World) -> None:
    world.baseline["code"] = "forbidden"
    refusal = world.refusal("code")
    assert refusal.message == "the baseline forbids code that jobs bring"
    world.baseline["code"] = {"approved": [{"sha256": "e" * 64, "by": "nora", "until": "2099-01-01"}]}
    refusal = world.refusal("code")
    assert refusal.document == "baseline"
    assert COMMAND not in refusal.message


def test_a_silent_baseline_leaves_code_to_the_site(world: World) -> None:
    del world.baseline["code"]
    assert world.effects("code") == ["allow", "not-applicable"]


@pytest.mark.parametrize(("until", "effect"), [("2026-06-01", "allow"), ("2026-05-31", "deny")])
def test_an_approval_holds_up_to_and_including_its_last_day(world: World, until: str, effect: str) -> None:
    world.site["code"]["approved"][0]["until"] = until
    assert world.effects("code") == [effect, "allow"]


def test_an_approval_that_ended_names_the_day_and_the_command(world: World) -> None:
    world.site["code"]["approved"][0]["until"] = "2026-05-31"
    refusal = world.refusal("code")
    assert f"the approval of code `{CODE}` ended on 2026-05-31; " in refusal.message
    assert COMMAND in refusal.message
    assert world.line(refusal.policy_at) == "until: '2026-05-31'"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_approvals_the_later_counts_in_any_order(world: World, order: int) -> None:
    two = [{"sha256": CODE, "by": "nora", "until": day} for day in ("2026-05-31", "2026-06-30")]
    world.site["code"]["approved"] = two[::order]
    assert world.effects("code") == ["allow", "allow"]


def test_no_code_of_a_jobs_own_runs_without_a_sandbox(world: World) -> None:
    world.site["sandbox"] = world.baseline["sandbox"] = "unsafe-none"
    refusal = world.refusal("code")
    assert refusal.message.startswith("the policy runs training code with no sandbox")
    assert world.line(refusal.policy_at) == "sandbox: unsafe-none"
    world.code = None
    assert world.decide().allowed
