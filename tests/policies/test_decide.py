# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from datetime import datetime
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
    "datasets": {"dataset", "approval", "columns", "rows", "free-text", "records", "classes"},
    "base_models": {"base-model"},
    "methods": {"method"},
    "training": {"training", "round-records"},
    "code": {"code"},
    "may_leave": {"selection-metric", "tensors", "update-size", "update-norm", "metrics"},
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
    ("may_leave", "tensors"),
    ("hours", "days"),
    ("code", "approved"),
]
# Sections that a site may leave out, for they only restrict or except.
OPTIONAL = {"hours", "privacy", "release", "waivers"}
# Rules that deny in this version wherever a policy states what they are about.
UNABLE = {"secure-aggregation", "privacy"}
# Rules that have nothing to say of the world's job, which describes no features.
NOT_ASKED = {"statistics"}


def test_allows_what_both_policies_grant(world: World) -> None:
    decision = world.decide()
    assert decision.allowed
    assert decision.refusals == ()
    assert decision.sentence() == f"allowed by {len(RULES) - len(UNABLE | NOT_ASKED)} rules"


def test_every_rule_answers_for_both_policies_in_order(world: World) -> None:
    assert [outcome.rule for outcome in world.decide().outcomes] == [rule.id for rule in RULES for _ in range(2)]


def test_every_section_of_a_policy_is_in_the_table_above() -> None:
    about_itself = {"language", "policy", "version", "extends", "owner", "valid_from", "valid_until", "sandbox"}
    assert set(SECTIONS) == set(Policy.model_fields) - about_itself - OPTIONAL


def test_every_rule_says_which_sections_it_reads() -> None:
    by_section: dict[str, set[str]] = {}
    for rule in RULES:
        assert rule.id in {"validity", "silo"} or rule.sections
        for section in rule.sections:
            assert section in Policy.model_fields
            by_section.setdefault(section, set()).add(rule.id)
    assert by_section == {
        **SECTIONS,
        "aggregation": {"sites", "secure-aggregation"},
        "may_leave": SECTIONS["may_leave"] | NOT_ASKED,
        **{"hours": {"hours"}, "privacy": {"privacy"}, "release": {"release"}},
    }


@pytest.mark.parametrize("section", sorted(OPTIONAL - {"privacy", "waivers"}))
def test_a_section_that_only_restricts_may_be_left_out(world: World, section: str) -> None:
    del world.site[section], world.baseline[section]
    assert world.decide().allowed
    assert set(world.effects(section)) == {"not-applicable"}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_a_site_leaves_out_denies(world: World, section: str) -> None:
    del world.site[section]
    refusals = world.decide().refusals
    assert {refusal.rule for refusal in refusals} == SECTIONS[section]
    assert {refusal.policy_at for refusal in refusals} == {"site.yaml:1"}
    assert {refusal.document for refusal in refusals} == {"site"}
    assert all(f"no section `{section}`" in refusal.message for refusal in refusals)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_the_baseline_leaves_out_sets_no_floor(world: World, section: str) -> None:
    del world.baseline[section]
    assert world.decide().allowed
    for rule in SECTIONS[section]:
        assert world.effects(rule) == ["allow", "not-applicable"]


def test_before_there_are_facts_their_rules_say_nothing(world: World) -> None:
    world.view = world.leaving = world.code = None
    decision = world.decide()
    assert decision.allowed
    silent = {"records", "classes", "code", "update-size", "update-norm", "metrics"} | UNABLE | NOT_ASKED
    own = [outcome for outcome in decision.outcomes if outcome.document == "site"]
    assert {outcome.rule for outcome in own if outcome.effect is Effect.NOT_APPLICABLE} == silent


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


# What is said of an empty list, by the rules that read it.
SAID_OF_NONE = [
    ("purpose", ("purposes",), "purpose `care-improvement` is not among the granted purposes: none"),
    (
        "dataset",
        ("datasets", "clinical-notes", "purposes"),
        "dataset `clinical-notes` is granted for no purpose, not for `care-improvement`",
    ),
    ("columns", ("datasets", "clinical-notes", "columns"), "column `note` is not among the granted columns: none"),
    ("method", ("methods", "lora", "targets"), "target `query` is not among the granted targets: none"),
    ("selection-metric", ("may_leave", "metrics"), "metric `accuracy` is not among those that may leave: none"),
    ("metrics", ("may_leave", "metrics"), "metric `accuracy` is not among those that may leave: none"),
    ("tensors", ("may_leave", "tensors"), "the job sends tensors of its adapter, and what may leave is none"),
    (
        "release",
        ("release", "approved_by"),
        "the result must be approved by nobody, and this version of Cloister cannot hold a result back",
    ),
]


@pytest.mark.parametrize(("rule", "path", "message"), SAID_OF_NONE)
def test_an_empty_list_is_called_so(world: World, rule: str, path: tuple[str, ...], message: str) -> None:
    policies = world.policies()
    site = dataclasses.replace(policies.site, value=emptied(policies.site.value, path))
    outcomes = decide(world.request(), dataclasses.replace(policies, site=site), NOW).outcomes
    assert next(outcome for outcome in outcomes if outcome.rule == rule).message == message


def raising(error: type[Exception]) -> Callable[[Check], Any]:
    def judge(check: Check) -> Any:
        raise error("patient 17 has the flu")

    return judge


@pytest.mark.parametrize("error", [KeyError, RuntimeError, RecursionError, AssertionError])
@pytest.mark.parametrize("index", range(len(RULES)))
def test_an_error_in_any_rule_denies(
    world: World, monkeypatch: pytest.MonkeyPatch, index: int, error: type[Exception]
) -> None:
    broken = Rule(RULES[index].id, raising(error), RULES[index].sections, waivable=True)
    monkeypatch.setattr(MODULE, "RULES", (*RULES[:index], broken, *RULES[index + 1 :]))
    if RULES[index].waivable:
        world.waive(broken.id)
    own, floor = world.decide().refusals
    assert (own.rule, own.document, floor.document) == (broken.id, "site", "baseline")
    assert own.message == floor.message == f"the rule failed: {error.__name__}"
    assert own.policy_at == own.job_at == ""


def test_an_error_for_the_baseline_alone_denies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(check: Check) -> Any:
        return 1 / 0 if check.of_baseline else check.allow("fine")

    monkeypatch.setattr(MODULE, "RULES", (*RULES[:-1], Rule(RULES[-1].id, judge)))
    assert world.refusal(RULES[-1].id).message == "the rule failed: ZeroDivisionError"


def test_documents_that_are_none_deny(world: World) -> None:
    policies = Policies(site=None, baseline=None)  # type: ignore[arg-type]
    decision = decide(world.request(), policies, NOW)
    assert {outcome.effect for outcome in decision.outcomes} == {Effect.DENY}
    assert len(decision.outcomes) == 2 * len(RULES)


@pytest.mark.parametrize(
    "answer",
    [
        (),
        None,
        True,
        ("allow",),
        (Outcome("another-rule", Effect.ALLOW, "fine"),),
        (Outcome("selection-metric", Effect.WAIVED, "fine"),),
        "allow",
        iter(()),
        (Outcome("selection-metric", "allow", "fine"),),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_is_none_denies(world: World, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    broken = Rule("selection-metric", lambda check: answer)
    monkeypatch.setattr(MODULE, "RULES", (*RULES[:-1], broken))
    decision = world.decide()
    assert not decision.allowed
    assert decision.refusals == tuple(
        Outcome("selection-metric", Effect.DENY, "the rule gave no answer", document=which)
        for which in ("site", "baseline")
    )


def test_no_rules_allow_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "RULES", ())
    decision = world.decide()
    assert decision == Decision(())
    assert not decision.allowed


def test_the_same_values_give_the_same_decision(world: World) -> None:
    request, policies = world.request(), world.policies()
    assert decide(request, policies, NOW) == decide(request, policies, NOW)


@pytest.mark.parametrize("now", [None, 3, "2026-06-01", datetime(2026, 6, 1, 12)])
def test_a_moment_that_is_none_denies(world: World, now: Any) -> None:
    assert not decide(world.request(), world.policies(), now).allowed


@pytest.mark.parametrize("policies", [3, "policies", object()])
def test_policies_that_are_none_deny(world: World, policies: Any) -> None:
    assert not decide(world.request(), policies, NOW).allowed


def test_a_request_that_is_none_denies(world: World) -> None:
    nothing: Any = None
    assert not decide(nothing, world.policies(), NOW).allowed
    assert decide(nothing, None, NOW).sentence() == "`validity`: site `` has no policy"
