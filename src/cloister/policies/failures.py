# SPDX-License-Identifier: Apache-2.0
"""Cases that do not hold, told once for each policy instead of once for each rule that they would have tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloister.documents import Document
from cloister.errors import Problem
from cloister.policies.decision import Effect
from cloister.policies.model import BASELINE, Policy
from cloister.policies.trial import Result

Tried = tuple[str, str, Effect]
"""Name of a policy, a rule, and what the rule says there."""


def failing(name: str, results: Iterable[Result]) -> list[Result]:
    """The cases that do not hold and are for the owner of the policy called ``name`` to look at.

    What fails at a site is its own. It is the baseline's as well where the baseline denies what the case does not
    expect; or where a denial is missing at every site of the case, and the baseline has a say in it and allows.
    """
    asked = tuple(results)
    failed = [result for result in asked if not result.passed]
    if name != BASELINE:
        return [result for result in failed if result.trial.site == name]
    holds = {result.trial.place for result in asked if result.passed}
    return [result for result in failed if _is_of_baseline(result, somewhere=result.trial.place in holds)]


def _is_of_baseline(result: Result, *, somewhere: bool) -> bool:
    expected, decision = result.trial.case.rules, result.decision
    of_baseline = [each for each in decision.outcomes if each.document == "baseline"]
    if any(each.rule not in expected for each in decision.refusals):
        return any(each.effect is Effect.DENY and each.rule not in expected for each in of_baseline)
    return not somewhere and any(each.effect is Effect.ALLOW and each.rule in expected for each in of_baseline)


def failures(policies: Mapping[str, Document[Policy]], results: Iterable[Result]) -> list[Problem]:
    """One problem for each of ``policies`` for which cases do not hold."""
    asked, found = tuple(results), []
    for name, document in policies.items():
        if here := failing(name, asked):
            cases = list(dict.fromkeys(result.trial.place for result in here))
            count = "1 case does not hold: " if len(cases) == 1 else f"{len(cases)} cases do not hold, such as "
            shown = min(here, key=lambda result: result.trial.case.expect)  # what is refused by mistake is told first
            hint = f"see cloister policy test {name}"
            found.append(Problem(document.source.file, 0, count + _told(shown), hint))
    return found


def would_try(name: str, results: Iterable[Result]) -> set[Tried]:
    """What cases at the policy called ``name`` would try, if only they held."""
    found: set[Tried] = set()
    for result in failing(name, results):
        case, decision = result.trial.case, result.decision
        found |= {(name, each.rule, Effect.ALLOW) for each in decision.outcomes if each.effect is Effect.ALLOW}
        if case.expect == "allow":
            found |= {(name, each.rule, Effect.ALLOW) for each in decision.refusals}
        named = Effect.DENY if case.expect == "deny" else Effect.WAIVED
        found |= {(name, rule, named) for rule in case.rules}
    return found


def _told(result: Result) -> str:
    trial = result.trial
    said = f"`{trial.case.case}` ({trial.place}) at {trial.site}"
    for outcome in result.decision.refusals:
        if outcome.rule not in trial.case.rules:
            place = f" ({outcome.policy_at})" if outcome.policy_at else ""
            return f"{said}: denied by `{outcome.rule}`{place}"
    return f"{said}: expected {trial.expected}, came {result.came}"
