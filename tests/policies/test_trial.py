# SPDX-License-Identifier: Apache-2.0
"""Cases as they are put to the policies: who asks, for what, when, and what is made of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cloister.documents import Document
from cloister.errors import InvalidDocumentsError
from cloister.files import canonical_json
from cloister.jobs import Job
from cloister.policies import Decision, Leaving, Outcome, Submitter, ViewFacts
from cloister.policies.cases import Cases, CaseSubmitter, merged, numbered, patched, stranger
from cloister.policies.decision import Effect
from cloister.policies.trial import Result, Trial, answer, default_submitter, person_of, results, trials
from cloister.roster import Federation
from cloister.silos import Silo
from tests.federation_folder import default_roster
from tests.policies.world import NOW, Tree, World, document

ADA, OLGA = "ada@research.example", "olga@research.example"
NORTH, RIVER = "hospital-north", "hospital-river"
FILE = "policies/cases/method.yaml"


def cases_of(*cases: Tree) -> Document[Cases]:
    common = {"case": "one", "job": "triage-notes", "expect": "allow"}
    tree = {"now": "2026-06-01T12:00:00Z", "cases": [{**common, "sites": [NORTH], **case} for case in cases]}
    return document(tree, Cases, FILE)


def roster(*names: str, role: str = "data-scientist") -> Federation:
    """A roster in which people of ``names`` have ``role``, beside an officer."""
    tree = default_roster()
    officer = tree["people"][1]
    tree["people"] = [*({"name": name, "organisation": "institute", "role": role} for name in names), officer]
    return document(tree, Federation, "federation.yaml").value


def tried(*cases: Tree, people: Federation | None = None) -> tuple[Trial, ...]:
    world = World()
    request = world.request()
    world.silo["site"] = RIVER
    silos = {NORTH: request.silo, RIVER: document(world.silo, Silo, "river.yaml")}
    return trials({"method": cases_of(*cases)}, {"triage-notes": request.job}, silos, people or roster(ADA))


def test_every_case_is_put_to_each_of_its_sites_in_order() -> None:
    made = tried({"sites": [RIVER, NORTH]}, {"case": "two", "now": "2026-06-02T09:00:00Z", "code": "c" * 64})
    assert [(each.site, each.request.silo.value.site, each.case.case) for each in made] == [
        (RIVER, RIVER, "one"),
        (NORTH, NORTH, "one"),
        (NORTH, NORTH, "two"),
    ]
    assert [each.now for each in made] == [NOW, NOW, datetime(2026, 6, 2, 9, tzinfo=UTC)]
    assert [each.request.code for each in made] == [None, None, "c" * 64]
    assert {each.rule for each in made} == {"method"}
    source = cases_of({"sites": [RIVER, NORTH]}, {"case": "two"}).source
    assert made[0].place == made[1].place == f"{FILE}:{source.lines['cases', 0]}"
    assert made[2].place.startswith(f"{FILE}:")
    assert made[2].place != made[0].place


def test_a_case_asks_for_its_job_with_its_changes() -> None:
    plain, changed = tried({}, {"case": "two", "with": {"method": {"lora": {"rank": 3}}}})
    assert plain.request.job.value == World().request().job.value
    assert changed.request.job.value.method.lora.rank == 3


def test_what_a_case_says_of_view_and_update_is_what_rules_are_given() -> None:
    leaving = {"bytes": 5, "bytes_before": 7, "norm": 1.5, "metrics": {"loss": 0.25}, "tensors": ["head"]}
    leaving["records"] = 3
    view = {"records": 9, "classes": {"urgent": 4, "routine": 5}, "validation": 2, "validation_classes": {"urgent": 2}}
    plain, full, least = tried(
        {},
        {"case": "two", "view": view, "leaving": leaving},
        {"case": "three", "view": {"records": 0}, "leaving": {"bytes": 0}},
    )
    assert (plain.request.view, plain.request.leaving) == (None, None)
    assert full.request.view == ViewFacts(9, {"urgent": 4, "routine": 5}, 2, {"urgent": 2})
    assert full.request.leaving == Leaving(5, 7, 1.5, {"loss": 0.25}, ("head",), 3)
    assert least.request.view == ViewFacts(0, {})
    assert least.request.leaving == Leaving(0, 0, None, {}, ())


def test_who_asks() -> None:
    someone = {"name": "Eve", "organisation": "vendor", "role": "nurse"}
    made = tried({}, {"case": "two", "submitter": OLGA}, {"case": "three", "submitter": someone})
    assert [each.request.submitter for each in made] == [
        Submitter(ADA, "institute", "data-scientist"),
        Submitter(OLGA, "institute", "compliance-officer"),
        Submitter("Eve", "vendor", "nurse"),
    ]
    assert stranger(CaseSubmitter(**someone)) == made[2].request.submitter
    assert person_of(roster(ADA), "eve@research.example") == Submitter("eve@research.example", "", "")


@pytest.mark.parametrize(
    ("people", "who"),
    [
        (roster(ADA), ADA),
        (roster(ADA, "alan@research.example"), None),
        (roster(ADA, role="it-admin"), None),
    ],
)
def test_the_rosters_only_data_scientist_asks_where_nobody_is_named(people: Federation, who: str | None) -> None:
    assert default_submitter(people) == who
    (made,) = tried({}, people=people)
    assert made.request.submitter.name == (who or "")


def test_each_trial_is_decided_by_its_own_sites_policies_at_its_own_moment() -> None:
    policies = World().policies()
    asked = tried({"sites": [NORTH, RIVER], "submitter": ADA}, {"case": "late", "now": "2026-06-01T23:00:00Z"})
    made = results(asked, lambda site: policies if site == NORTH else None)
    assert [each.trial for each in made] == list(asked)
    refusals = [{refusal.rule for refusal in each.decision.refusals} for each in made]
    assert refusals == [{"submitter"}, {"validity"}, {"submitter", "hours"}]


def outcomes(**effects: Effect) -> Decision:
    return Decision(tuple(Outcome(rule.replace("_", "-"), effect, "so") for rule, effect in effects.items()))


ALLOWED = outcomes(silo=Effect.ALLOW, hours=Effect.NOT_APPLICABLE)
WAIVED = outcomes(silo=Effect.ALLOW, hours=Effect.WAIVED, records=Effect.WAIVED)
DENIED = outcomes(silo=Effect.ALLOW, records=Effect.DENY, hours=Effect.DENY, training=Effect.WAIVED)
AGAIN = Decision((*DENIED.outcomes, *DENIED.outcomes))


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (ALLOWED, "allow"),
        (WAIVED, "allow waiving `hours`, `records`"),
        (DENIED, "deny by `hours`, `records`"),
        (AGAIN, "deny by `hours`, `records`"),
        (Decision(()), "deny"),
    ],
)
def test_an_answer_in_a_few_words(decision: Decision, said: str) -> None:
    assert answer(decision) == said


@pytest.mark.parametrize(
    ("expect", "rules", "decision", "passed"),
    [
        ("allow", [], ALLOWED, True),
        ("allow", [], WAIVED, False),
        ("allow", ["hours"], WAIVED, False),
        ("allow", ["records", "hours"], WAIVED, True),
        ("allow", ["hours"], ALLOWED, False),
        ("allow", [], DENIED, False),
        ("deny", ["hours", "records"], DENIED, True),
        ("deny", ["hours", "records", "hours"], AGAIN, True),
        ("deny", ["hours"], DENIED, False),
        ("deny", ["hours", "records", "training"], DENIED, False),
        ("deny", ["hours", "records"], WAIVED, False),
    ],
)
def test_a_case_holds_with_exactly_its_answer_and_its_rules(
    expect: str, rules: list[str], decision: Decision, passed: bool
) -> None:
    (trial,) = tried({"expect": expect, "rules": rules})
    made = Result(trial, decision)
    assert made.passed is passed
    assert made.came == answer(decision)
    named = ", ".join(f"`{rule}`" for rule in sorted(set(rules)))
    joint = {"allow": "waiving", "deny": "by"}[expect]
    assert trial.expected == (f"{expect} {joint} {named}" if named else expect)
    assert made.to_json() == {
        "case": "one",
        "at": trial.place,
        "site": NORTH,
        "expected": expect,
        "rules": sorted(set(rules)),
        "passed": passed,
        "decision": decision.to_json(),
    }


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "holds no cases"),
        ([{}, {"case": "two"}, {}], "has two cases called `one`"),
        ([{"expect": "deny"}], "an entry of `cases` expects `deny` and names no `rules` that deny"),
        (
            [{"now": "2026-06-01T12:00:00+01:00"}],
            "`cases.now` must be a moment in UTC, such as 2026-06-01T12:00:00Z",
        ),
        ([{"now": "2026-06-01"}], "`cases.now` must be a moment such as 2026-06-01T12:00:00Z, not text"),
        ([{"submitter": 3}], "`cases.submitter` must be text, not a number"),
        ([{"submitter": {"name": "Eve", "role": "nurse"}}], "missing key `cases.submitter.organisation`"),
    ],
)
def test_a_mistake_is_told_in_these_words(cases: list[Tree], said: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        cases_of(*cases)
    assert [problem.message for problem in caught.value.problems] == [said]


def test_cases_are_numbered_within_their_document() -> None:
    first, second = cases_of({}, {"case": "two"}), cases_of({"case": "three"})
    assert list(numbered({"method": first, "hours": second})) == [
        ("method", first, 0, first.value.cases[0]),
        ("method", first, 1, first.value.cases[1]),
        ("hours", second, 0, second.value.cases[0]),
    ]


def changed(changes: Tree) -> tuple[Document[Job], Document[Cases]]:
    """The job with ``changes`` of the second of two cases; the first changes something else."""
    cases = cases_of({"with": {"purpose": "research", "training": {"steps": 9}}}, {"case": "two", "with": changes})
    return patched(World().request().job, cases, 1), cases


def test_a_changed_value_stands_in_the_case_and_every_other_in_the_job() -> None:
    changes: dict[str, Any] = {
        "purpose": "teaching",
        "code": None,
        "method": {"lora": {"rank": 3}},
        "dataset": {"labels": ["a", "b"]},
        "select_by": {"metric": "loss", "mode": "minimum"},
    }
    job, cases = changed(changes)
    plain = World().request().job
    here = ("cases", 1, "with")
    lines = cases.source.lines
    assert job.value.purpose == "teaching"
    assert job.value.code is None
    assert job.value.training == plain.value.training
    for path in (
        ("purpose",),
        ("code",),
        ("method", "lora", "rank"),
        ("dataset", "labels"),
        ("dataset", "labels", 1),
        ("select_by", "metric"),
    ):
        assert job.source.at(*path) == f"{FILE}:{lines[here + path]}"
    # What lies below a changed value lies where that is.
    assert job.source.at("purpose", "of") == job.source.at("purpose", "of", "all") == job.source.at("purpose")
    # A mapping that the case only passes through is the job's.
    for path in ((), ("method",), ("method", "lora"), ("method", "lora", "targets", 0), ("dataset",), ("training",)):
        assert job.source.at(*path) == plain.source.at(*path)
    assert job.source.file == "job.yaml"
    assert job.text == merged_text(plain, changes)


def merged_text(job: Document[Job], changes: Tree) -> bytes:
    return canonical_json(merged(job.value.model_dump(mode="json", by_alias=True, exclude_unset=True), changes))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training": {"steps": 0}}, ("training", "steps")),
        ({"method": {"lora": {"rank": 3, "targets": ["a", "b/c"]}}}, ("method", "lora", "targets", 1)),
        ({"purpose": None}, ()),
        ({"dataset": {"name": None}}, ("dataset",)),
        ({"federation": {"deadline": 3}}, ("federation", "deadline")),
    ],
)
def test_a_change_that_makes_no_job_is_told_with_the_cases_line(changes: Tree, key: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        changed(changes)
    (problem,) = caught.value.problems
    cases = cases_of({"with": {"purpose": "research", "training": {"steps": 9}}}, {"case": "two", "with": changes})
    assert problem.file == FILE
    assert problem.line == cases.source.lines["cases", 1, "with", *key]
