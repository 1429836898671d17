# SPDX-License-Identifier: Apache-2.0
"""Which answers of which rules a policy needs a case for, and what counts as one."""

from __future__ import annotations

import pytest

from cloister.documents import Document
from cloister.errors import Problem
from cloister.policies import RULES, Decision, Effect, Outcome, Policy
from cloister.policies.cases import Case
from cloister.policies.coverage import uncovered, uses
from cloister.policies.trial import Result, Trial
from tests.policies.world import NOW, Tree, World, document

NAME = "hospital-north"
# Rules that the policy of `World` uses, in order, and the section by which it does.
USED = {
    "validity": "valid_until",
    "hours": "hours",
    "submitter": "submitters",
    "purpose": "purposes",
    "dataset": "datasets",
    "approval": "datasets",
    "columns": "datasets",
    "rows": "datasets",
    "free-text": "datasets",
    "records": "datasets",
    "classes": "datasets",
    "base-model": "base_models",
    "method": "methods",
    "training": "training",
    "round-records": "training",
    "code": "code",
    "sites": "aggregation",
    "release": "release",
    "selection-metric": "may_leave",
    "statistics": "may_leave",
    "tensors": "may_leave",
    "update-size": "may_leave",
    "update-norm": "may_leave",
    "metrics": "may_leave",
}


def site_policy(changes: Tree | None = None) -> Document[Policy]:
    world = World()
    world.ask({"policy": changes or {}})
    return world.policies().site


def demanded(changes: Tree) -> set[tuple[str, str]]:
    """Rule and effect of every case that the changed policy needs."""
    found = uncovered({NAME: site_policy(changes)}, [])
    return {(each.message.split("`")[1], each.message.rsplit(" ", 1)[1]) for each in found}


def result(rule: str, effect: Effect, *, by: str = "site", site: str = NAME, passes: bool = True) -> Result:
    """What comes of a case at ``site`` in which ``rule`` of one document says ``effect``."""
    allowed = effect is not Effect.DENY
    outcomes = [Outcome(rule, effect, "so", document="baseline" if by == "baseline" else "site")]
    if effect is Effect.WAIVED:
        outcomes.append(Outcome("silo", Effect.ALLOW, "so"))
    named = () if effect is Effect.ALLOW else (rule,)
    expect = "allow" if allowed is passes else "deny"
    case = Case.model_construct(case="one", sites=(site,), job="j", expect=expect, rules=named)
    world = World()
    world.asked_site = site
    return Result(Trial(rule, case, "cases.yaml:1", world.request(), NOW), Decision(tuple(outcomes)))


def test_a_policy_that_nobody_tried_needs_both_answers_of_every_rule_that_it_uses() -> None:
    policy = site_policy()
    assert uncovered({NAME: policy}, []) == [
        Problem(
            "site.yaml",
            policy.source.lines[(section,)],
            f"no case that holds makes the rule `{rule}` of `{NAME}` {effect}",
            f"write one at site `{NAME}` with `expect: {effect}`{named} in `policies/cases/{rule}.yaml`",
        )
        for rule, section in USED.items()
        for effect, named in (("allow", ""), ("deny", f" and `rules: [{rule}]`"))
    ]


def test_a_case_of_the_baseline_may_be_at_any_site(world: World) -> None:
    world.silence_baseline()
    baseline = world.policies().baseline
    line = baseline.source.lines[("valid_until",)]
    said, where = "no case that holds makes the rule `validity` of `baseline`", "in `policies/cases/validity.yaml`"
    assert uncovered({"baseline": baseline}, []) == [
        Problem("baseline.yaml", line, f"{said} allow", f"write one at any site with `expect: allow` {where}"),
        Problem(
            "baseline.yaml",
            line,
            f"{said} deny",
            f"write one at any site with `expect: deny` and `rules: [validity]` {where}",
        ),
    ]


def test_a_waiver_needs_a_case_that_shows_it(world: World) -> None:
    world.silence_baseline()
    for rule in ("hours", "records"):
        world.waive(rule, which="baseline")
    baseline = world.policies().baseline
    found = [each for each in uncovered({"baseline": baseline}, []) if "waive" in each.message]
    assert found == [
        Problem(
            "baseline.yaml",
            baseline.source.lines[("waivers", index)],
            f"no case that holds makes the rule `{rule}` of `baseline` waive its denial",
            f"write one at any site with `expect: allow` and `rules: [{rule}]` in `policies/cases/{rule}.yaml`",
        )
        for index, rule in enumerate(("hours", "records"))
    ]
    tried = [result("hours", Effect.WAIVED, by="baseline")]
    assert [each.line for each in uncovered({"baseline": baseline}, tried) if "waive" in each.message] == [
        found[1].line
    ]


@pytest.mark.parametrize(
    ("tried", "effects"),
    [
        ([result("purpose", Effect.ALLOW)], {"deny"}),
        ([result("purpose", Effect.DENY)], {"allow"}),
        ([result("purpose", Effect.ALLOW), result("purpose", Effect.DENY)], set()),
        ([result("purpose", Effect.NOT_APPLICABLE)], {"allow", "deny"}),
        ([result("method", Effect.DENY)], {"allow", "deny"}),
        ([result("purpose", Effect.DENY, by="baseline")], {"allow", "deny"}),
        ([result("purpose", Effect.DENY, site="hospital-river")], {"allow", "deny"}),
        ([result("purpose", Effect.DENY, passes=False)], {"deny"}),
    ],
)
def test_a_case_counts_for_its_document_its_rule_and_its_answer_where_it_holds(
    tried: list[Result], effects: set[str]
) -> None:
    found = [each.message for each in uncovered({NAME: site_policy()}, tried) if "`purpose`" in each.message]
    assert {said.rsplit(" ", 1)[1] for said in found} == effects


def test_a_case_at_any_site_counts_for_the_baseline(world: World) -> None:
    world.silence_baseline()
    tried = [
        result("validity", Effect.ALLOW, by="baseline", site="hospital-river"),
        result("validity", Effect.DENY, by="baseline", site="hospital-lake"),
    ]
    assert uncovered({"baseline": world.policies().baseline}, tried) == []
    assert uncovered({}, []) == []


BOTH = {"allow", "deny"}


@pytest.mark.parametrize(
    ("rule", "changes", "effects"),
    [
        ("approval", {"datasets": {"clinical-notes": {"approval": None}}}, set()),
        ("rows", {"datasets": {"clinical-notes": {"rows": None}}}, set()),
        ("classes", {"datasets": {"clinical-notes": {"minimum_per_class": None}}}, set()),
        ("classes", {"datasets": {"letters": {"minimum_per_class": 3}}}, BOTH),
        ("classes", {"datasets": None}, set()),
        ("records", {"datasets": None}, set()),
        ("round-records", {"training": {"minimum_records_per_round": None}}, set()),
        ("round-records", {"training": None}, set()),
        ("update-norm", {"may_leave": {"maximum_norm": None}}, set()),
        ("update-norm", {"may_leave": None}, set()),
        ("update-size", {"may_leave": None}, set()),
        ("hours", {"hours": None}, set()),
        ("sites", {"aggregation": None}, set()),
        ("secure-aggregation", {"aggregation": None}, set()),
        ("secure-aggregation", {"aggregation": {"secure_aggregation": "required"}}, {"deny"}),
        ("privacy", {"privacy": {"unit": "record", "epsilon": 1, "delta": 0}}, {"deny"}),
        ("code", {"code": "forbidden"}, {"deny"}),
        ("code", {"code": None}, set()),
        ("release", {"release": {"minimum_sites": None}}, {"allow"}),
        ("release", {"release": {"minimum_sites": 1}}, {"allow"}),
        ("release", {"release": {"minimum_sites": 2}}, BOTH),
        ("release", {"release": {"minimum_sites": 1, "approved_by": ["nora@north.example"]}}, {"deny"}),
        ("release", {"release": None}, set()),
        ("rows", {"datasets": {"clinical-notes": {"rows": None, "filter": "age > 1"}}}, BOTH),
        ("free-text", {"datasets": {"clinical-notes": {"free_text": "refuse"}}}, BOTH),
        ("free-text", {"datasets": {"clinical-notes": {"free_text": "mask"}}}, BOTH),
        ("free-text", {"datasets": {"clinical-notes": {"free_text": "keep"}, "letters": None}}, {"allow"}),
        ("free-text", {"datasets": {"clinical-notes": {"free_text": None}}}, set()),
        ("statistics", {"may_leave": {"statistics": None}}, set()),
        ("statistics", {"may_leave": {"statistics": {"minimum_count": 3}}}, BOTH),
        ("selection-metric", {"may_leave": {"metrics": ["accuracy", "macro_f1"]}}, BOTH),
        ("selection-metric", {"may_leave": {"metrics": ["accuracy", "macro_f1", "loss"]}}, {"allow"}),
        ("selection-metric", {"may_leave": {"metrics": ["accuracy", "macro_f1", "loss", "train_loss"]}}, {"allow"}),
        ("selection-metric", {"may_leave": None}, set()),
        ("validity", {}, BOTH),
    ],
)
def test_a_rule_needs_the_answers_that_it_can_give(rule: str, changes: Tree, effects: set[str]) -> None:
    assert {effect for each, effect in demanded(changes) if each == rule} == effects


def test_a_policy_uses_the_rules_about_what_it_says(world: World) -> None:
    world.silence_baseline()
    empty = document(world.baseline, Policy, "baseline.yaml").value
    assert [rule.id for rule in RULES if uses(empty, rule)] == ["validity"]
    assert [rule.id for rule in RULES if uses(site_policy().value, rule)] == list(USED)
