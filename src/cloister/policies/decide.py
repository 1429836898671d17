# SPDX-License-Identifier: Apache-2.0
"""The decision: may this job run on this silo today?

1. Every rule is asked for the site's own policy and for the baseline; what is not asked is not allowed.
2. Deny by default, forbid wins: one denial denies.
3. An error inside a rule denies (unlike Cedar, which skips the policy that errs), as does an answer that is empty or
   not an answer.
4. Nothing is read but the arguments: the same values give the same decision in explain, at admission and in tests.
"""

from __future__ import annotations

from datetime import date

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import Decision, Effect, Outcome, quoted
from cloister.policies.pair import Policies
from cloister.policies.request import Request
from cloister.policies.rules import RULES


def decide(request: Request, policies: Policies | None, today: date) -> Decision:
    """Hold ``request`` against a site's policies.

    Args:
        request: who asks for what, where.
        policies: the site's own and the baseline; None where the site has none, which denies.
        today: the day on which the policies must be valid.

    Returns:
        The decision. Never raises: whatever goes wrong is a denial in it.
    """
    if policies is None:
        message = f"site {quoted(str(request.site))} has no policy"
        return Decision((Outcome("validity", Effect.DENY, message),))
    return Decision(tuple(outcome for rule in RULES for outcome in _ask(rule, request, policies, today)))


def _ask(rule: Rule, request: Request, policies: Policies, today: date) -> Outcomes:
    try:
        own = rule.judge(Check(rule.id, request, policies.site, of_baseline=False, today=today))
        floor = rule.judge(Check(rule.id, request, policies.baseline, of_baseline=True, today=today))
        return _answer(rule, own) + _answer(rule, floor)
    except Exception as error:  # noqa: BLE001  whatever a rule stumbles over, the job does not start
        return (Outcome(rule.id, Effect.DENY, f"the rule failed: {type(error).__name__}"),)


def _answer(rule: Rule, outcomes: Outcomes) -> Outcomes:
    """What a rule answered, or a denial where that is not an answer."""
    sound = bool(outcomes) and all(
        isinstance(outcome, Outcome) and outcome.rule == rule.id and isinstance(outcome.effect, Effect)
        for outcome in outcomes
    )
    return tuple(outcomes) if sound else (Outcome(rule.id, Effect.DENY, "the rule gave no answer"),)
