# SPDX-License-Identifier: Apache-2.0
"""The decision: may this job run on this silo, train on this view, send this out, now?

1. Every rule is asked for the site's own policy and for the baseline; what is not asked is not allowed.
2. Deny by default, forbid wins: one denial denies.
3. An error inside a rule denies (unlike Cedar, which skips the policy that errs), as does an answer that is empty or
   not an answer.
4. A waiver sets aside denials of one rule by the very document that it stands in: a site cannot waive the baseline's.
   It covers neither an error nor a section or limit that was never written, for there is nothing there to stretch.
5. Nothing is read but the arguments: the same values give the same decision in explain, at every gate and in tests.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import Decision, Effect, Outcome, Which, quoted
from cloister.policies.pair import Policies
from cloister.policies.request import Request
from cloister.policies.rules import RULES


def decide(request: Request, policies: Policies | None, now: datetime) -> Decision:
    """Hold ``request`` against a site's policies.

    Args:
        request: who asks for what, where, and what is known of it by now.
        policies: the site's own and the baseline; None where the site has none, which denies.
        now: the moment at which the policies must hold; aware, UTC.

    Returns:
        The decision. Never raises: whatever goes wrong is a denial in it.
    """
    if policies is None:
        message = f"site {quoted(str(getattr(request, 'site', '')))} has no policy"
        return Decision((Outcome("validity", Effect.DENY, message),))
    documents: tuple[Which, ...] = ("site", "baseline")
    return Decision(
        tuple(outcome for rule in RULES for which in documents for outcome in _ask(rule, which, request, policies, now))
    )


def _ask(rule: Rule, which: Which, request: Request, policies: Policies, now: datetime) -> Outcomes:
    try:
        if now.utcoffset() != timedelta(0):
            raise ValueError("a moment that is not in UTC")  # hours and days would be read off the wrong clock
        document = policies.baseline if which == "baseline" else policies.site
        check = Check(rule.id, request, document, of_baseline=which == "baseline", now=now)
        outcomes = rule.judge(check)
        if not _is_answer(rule, which, outcomes):
            return (Outcome(rule.id, Effect.DENY, "the rule gave no answer", document=which),)
        return _with_waivers(rule, check, outcomes)
    except Exception as error:  # noqa: BLE001 - a gate: whatever a rule stumbles over, the answer is no
        return (Outcome(rule.id, Effect.DENY, f"the rule failed: {type(error).__name__}", document=which),)


def _is_answer(rule: Rule, which: Which, outcomes: Outcomes) -> bool:
    return (
        isinstance(outcomes, tuple)
        and bool(outcomes)
        and all(
            isinstance(outcome, Outcome)
            and outcome.rule == rule.id
            and outcome.document == which
            and isinstance(outcome.effect, Effect)
            and outcome.effect is not Effect.WAIVED
            for outcome in outcomes
        )
    )


def _with_waivers(rule: Rule, check: Check, outcomes: Outcomes) -> Outcomes:
    """``outcomes``, with denials that the same document waives today as `waived`."""
    policy = check.policy
    if not rule.waivable or any(getattr(policy, section) is None for section in rule.sections):
        return outcomes
    for index, waiver in enumerate(policy.waivers or ()):
        covers = waiver.rule == rule.id and (waiver.jobs is None or check.job.job in waiver.jobs)
        if covers and check.today <= waiver.until:
            place = check.document.source.at("waivers", index)
            said = f"waived until {waiver.until} by {quoted(waiver.by)} ({place}): {quoted(waiver.reason)}"
            return tuple(
                replace(outcome, effect=Effect.WAIVED, message=f"{outcome.message}; {said}")
                if outcome.effect is Effect.DENY and outcome.stated
                else outcome
                for outcome in outcomes
            )
    return outcomes
