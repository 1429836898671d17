# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from cloister.policies import RULES, Decision, Effect, Outcome, Policies, Policy, decide
from cloister.policies.check import Check, Rule
from tests.policies.world import NOW, World

MODULE = importlib.import_module("cloister.policies.decide")  # the package gives the name to the function

# Section of a site's policy, and the rules that deny without it.
SECTIONS = {
    "submitters": {"submitter"},
    "purposes": {"purpose"},
    "datasets": {"dataset", "columns", "records"},
    "base_models": {"base-model"},
    "methods": {"method"},
    "training": {"training"},
    "may_leave": {"selection-metric"},
    "aggregation": {"sites"},
}
# Every list of a policy that grants by what it holds.
LISTS = [
    ("submitters", "people"),
    ("submitters", "roles"),
    ("submitters", "organisations"),
    ("purposes",),
    ("datasets", "clinical-notes", "columns"),
    ("datasets", "clinical-notes", "purposes"),
    ("base_models",),
    ("methods", "lora", "targets"),
    ("may_leave", "metrics"),
]


def test_allows_what_both_policies_grant(world: World) -> None:
    decision = world.decide()
    assert decision.allowed
    assert decision.refusals == ()
    assert decision.sentence() == f"allowed by {len(RULES)} rules"


def test_every_rule_answers_for_both_policies_in_order(world: World) -> None:
    assert [outcome.rule for outcome in world.decide().outcomes] == [rule.id for rule in RULES for _ in range(2)]


def test_every_section_of_a_policy_is_in_the_table_above() -> None:
    about_itself = {"policy", "version", "extends", "owner", "valid_from", "valid_until", "sandbox"}
    assert set(SECTIONS) == set(Policy.model_fields) - about_itself


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_a_site_leaves_out_denies(world: World, section: str) -> None:
    del world.site[section]
    refusals = world.decide().refusals
    assert {refusal.rule for refusal in refusals} == SECTIONS[section]
    assert {refusal.policy_at for refusal in refusals} == {"site.yaml:1"}
    assert all(f"no section `{section}`" in refusal.message for refusal in refusals)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_the_baseline_leaves_out_sets_no_floor(world: World, section: str) -> None:
    del world.baseline[section]
    assert world.decide().allowed
    for rule in SECTIONS[section]:
        assert world.effects(rule) == ["allow", "not-applicable"]


def test_a_policy_of_dates_alone_allows_nothing(world: World) -> None:
    for section in SECTIONS:
        del world.site[section]
    assert {refusal.rule for refusal in world.decide().refusals} == set().union(*SECTIONS.values())


def test_a_silent_baseline_leaves_everything_to_the_site(world: World) -> None:
    world.silence_baseline()
    assert world.decide().allowed


def test_no_policies_deny(world: World) -> None:
    decision = decide(world.request(), None, NOW)
    assert not decision.allowed
    assert decision.sentence() == "`validity`: site `hospital-north` has no policy"


def emptied(policy: Policy, path: tuple[str, ...]) -> Policy:
    """``policy`` with the list at ``path`` empty, which the model itself does not let in."""

    def replace(value: Any, rest: tuple[str, ...]) -> Any:
        if not rest:
            return ()
        if isinstance(value, dict):
            return {**value, rest[0]: replace(value[rest[0]], rest[1:])}
        return value.model_copy(update={rest[0]: replace(getattr(value, rest[0]), rest[1:])})

    return replace(policy, path)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_an_empty_list_grants_nothing_even_past_the_model(world: World, path: tuple[str, ...], which: str) -> None:
    policies = world.policies()
    old = getattr(policies, which)
    new = dataclasses.replace(old, value=emptied(old.value, path))
    policies = dataclasses.replace(policies, **{which: new})
    assert not decide(world.request(), policies, NOW).allowed


def raising(error: type[Exception]) -> Callable[[Check], Any]:
    def judge(check: Check) -> Any:
        raise error("patient 17 has the flu")

    return judge


@pytest.mark.parametrize("error", [KeyError, RuntimeError, RecursionError, AssertionError])
@pytest.mark.parametrize("index", range(len(RULES)))
def test_an_error_in_any_rule_denies(
    world: World, monkeypatch: pytest.MonkeyPatch, index: int, error: type[Exception]
) -> None:
    broken = Rule(RULES[index].id, raising(error))
    monkeypatch.setattr(MODULE, "RULES", (*RULES[:index], broken, *RULES[index + 1 :]))
    refusal = world.refusal(broken.id)
    assert refusal.message == f"the rule failed: {error.__name__}"
    assert refusal.policy_at == refusal.job_at == ""


def test_an_error_for_the_baseline_alone_denies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(check: Check) -> Any:
        return 1 / 0 if check.of_baseline else check.allow("fine")

    monkeypatch.setattr(MODULE, "RULES", (*RULES[:-1], Rule(RULES[-1].id, judge)))
    assert world.refusal(RULES[-1].id).message == "the rule failed: ZeroDivisionError"


def test_documents_that_are_none_deny(world: World) -> None:
    policies = Policies(site=None, baseline=None)  # type: ignore[arg-type]
    decision = decide(world.request(), policies, NOW)
    assert {outcome.effect for outcome in decision.outcomes} == {Effect.DENY}
    assert len(decision.outcomes) == len(RULES)


@pytest.mark.parametrize(
    "answer",
    [
        (),
        None,
        True,
        ("allow",),
        (Outcome("another-rule", Effect.ALLOW, "fine"),),
        (Outcome("selection-metric", "allow", "fine"),),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_is_none_denies(world: World, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    broken = Rule("selection-metric", lambda check: answer)
    monkeypatch.setattr(MODULE, "RULES", (*RULES[:-1], broken))
    decision = world.decide()
    assert not decision.allowed
    assert {refusal.rule for refusal in decision.refusals} == {"selection-metric"}


def test_no_rules_allow_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "RULES", ())
    decision = world.decide()
    assert decision == Decision(())
    assert not decision.allowed


def test_the_same_values_give_the_same_decision(world: World) -> None:
    request, policies = world.request(), world.policies()
    assert decide(request, policies, NOW) == decide(request, policies, NOW)
