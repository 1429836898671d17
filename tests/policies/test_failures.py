# SPDX-License-Identifier: Apache-2.0
"""Whose cases they are that do not hold, how that is said, and what they would have tried."""

from __future__ import annotations

import pytest

from cloister.errors import Problem
from cloister.policies import Decision, Effect, Outcome
from cloister.policies.cases import Case
from cloister.policies.failures import failing, failures, would_try
from cloister.policies.trial import Result, Trial
from tests.policies.world import NOW, World

ALLOW, DENY, WAIVED, SILENT = Effect.ALLOW, Effect.DENY, Effect.WAIVED, Effect.NOT_APPLICABLE
NORTH, RIVER = "hospital-north", "hospital-river"
Said = tuple[str, Effect, str]
"""A rule, what it says, and of which document."""


def outcome(rule: str, effect: Effect, of: str = "site") -> Outcome:
    return Outcome(
        rule, effect, "so", f"{of}.yaml:7" if effect is DENY else "", "", "site" if of == "site" else "baseline"
    )


def result(expect: str, rules: list[str], *said: Said, site: str = NORTH, place: str = "cases.yaml:3") -> Result:
    """What came of a case that expects ``expect`` by ``rules``, where `silo` allows beside what is ``said``."""
    world = World()
    world.asked_site = site
    case = Case.model_construct(case="one", sites=(site,), job="j", expect=expect, rules=tuple(rules))
    made = Decision((outcome("silo", ALLOW), *(outcome(*each) for each in said)))
    return Result(Trial("method", case, place, world.request(), NOW), made)


HOLDS = result("deny", ["method"], ("method", DENY, "site"))
MISSING = result("deny", ["method"], ("method", ALLOW, "site"))
WRONG = result("allow", [], ("hours", DENY, "site"))


def test_what_holds_is_nobodys_failure() -> None:
    for name in (NORTH, "baseline"):
        assert failing(name, [HOLDS, result("allow", [])]) == []


def test_what_fails_at_a_site_is_the_sites() -> None:
    there = result("allow", [], ("hours", DENY, "baseline"), site=RIVER)
    assert failing(NORTH, [HOLDS, MISSING, there, WRONG]) == [MISSING, WRONG]
    assert failing(RIVER, [HOLDS, MISSING, there, WRONG]) == [there]


@pytest.mark.parametrize(
    ("failed", "is_of_baseline"),
    [
        # Something denies that the case does not expect: the baseline's failure where the baseline does.
        (WRONG, False),
        (result("allow", [], ("hours", DENY, "baseline")), True),
        (result("allow", [], ("hours", DENY, "site"), ("hours", ALLOW, "baseline")), False),
        (result("deny", ["method"], ("method", DENY, "site"), ("hours", DENY, "baseline")), True),
        (result("deny", ["method"], ("method", DENY, "baseline"), ("hours", DENY, "site")), False),
        (result("deny", ["method"], ("method", ALLOW, "baseline"), ("hours", DENY, "site")), False),
        # A denial is missing: the baseline's failure where it allows what it was to deny.
        (MISSING, False),
        (result("deny", ["method"], ("method", ALLOW, "baseline")), True),
        (result("deny", ["method"], ("method", SILENT, "baseline")), False),
        (result("deny", ["method"], ("hours", ALLOW, "baseline")), False),
        (result("deny", ["method", "hours"], ("method", DENY, "site"), ("hours", ALLOW, "baseline")), True),
    ],
)
def test_what_is_the_baselines(failed: Result, is_of_baseline: bool) -> None:
    assert not failed.passed
    assert failing("baseline", [failed, HOLDS][:1]) == ([failed] if is_of_baseline else [])


def test_a_denial_that_is_missing_at_one_site_alone_is_not_the_baselines() -> None:
    here = result("deny", ["method"], ("method", ALLOW, "baseline"))
    there = result("deny", ["method"], ("method", DENY, "site"), site=RIVER)
    elsewhere = result("deny", ["method"], ("method", DENY, "site"), site=RIVER, place="cases.yaml:9")
    assert failing("baseline", [here, there]) == []
    assert failing("baseline", [here, elsewhere]) == [here]
    wrong = result("allow", [], ("hours", DENY, "baseline"))
    assert failing("baseline", [wrong, result("allow", [], site=RIVER)]) == [wrong]


def told(*failed: Result) -> list[Problem]:
    world = World()
    return failures({NORTH: world.policies().site, RIVER: world.policies().site}, failed)


def test_one_problem_tells_of_all_cases_of_a_policy() -> None:
    assert told(HOLDS) == []
    hint = f"see cloister policy test {NORTH}"
    one = "1 case does not hold: `one` (cases.yaml:3) at hospital-north: expected deny by `method`, came allow"
    assert told(HOLDS, MISSING) == [Problem("site.yaml", 0, one, hint)]
    assert told(MISSING, MISSING) == [Problem("site.yaml", 0, one, hint)]
    # What is refused by mistake is told first.
    later = result("allow", [], ("records", DENY, "site"), ("hours", DENY, "site"), place="cases.yaml:9")
    many = "2 cases do not hold, such as `one` (cases.yaml:9) at hospital-north: denied by `records` (site.yaml:7)"
    assert told(MISSING, later) == [Problem("site.yaml", 0, many, hint)]


def test_what_denies_is_the_first_rule_that_was_not_expected() -> None:
    failed = result("deny", ["method"], ("method", DENY, "site"), ("hours", DENY, "baseline"), site=RIVER)
    said = "1 case does not hold: `one` (cases.yaml:3) at hospital-river: denied by `hours` (baseline.yaml:7)"
    assert told(failed) == [Problem("site.yaml", 0, said, f"see cloister policy test {RIVER}")]
    nowhere = Result(failed.trial, Decision((Outcome("validity", DENY, "has no policy"),)))
    assert told(nowhere)[0].message.endswith("at hospital-river: denied by `validity`")


@pytest.mark.parametrize(
    ("failed", "tried"),
    [
        (HOLDS, set()),
        (MISSING, {("silo", ALLOW), ("method", ALLOW), ("method", DENY)}),
        (WRONG, {("silo", ALLOW), ("hours", ALLOW)}),
        (
            result("allow", ["training"], ("hours", DENY, "site")),
            {("silo", ALLOW), ("hours", ALLOW), ("training", WAIVED)},
        ),
        (result("deny", ["method"], ("hours", DENY, "site")), {("silo", ALLOW), ("method", DENY)}),
    ],
)
def test_what_a_case_would_try_if_it_held(failed: Result, tried: set[tuple[str, Effect]]) -> None:
    assert would_try(NORTH, [failed]) == {(NORTH, *each) for each in tried}
    assert would_try(RIVER, [failed]) == set()
    assert would_try(NORTH, [MISSING, failed]) == would_try(NORTH, [MISSING]) | would_try(NORTH, [failed])
