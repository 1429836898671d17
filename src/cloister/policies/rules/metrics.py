# SPDX-License-Identifier: Apache-2.0
"""`metrics`: every number that is about to leave is one that may, and lies where the policy says."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted


def judge(check: Check) -> Outcomes:
    """Allow metrics under `may_leave.metrics`, each within its `metric_bounds`; asked at the egress gate."""
    leaving, limits = check.request.leaving, check.policy.may_leave
    if leaving is None:
        return check.not_applicable("is checked when something is about to leave")
    if limits is None:
        return check.silent("may_leave")
    refusals: Outcomes = ()
    bounds = limits.metric_bounds or {}
    for name, value in sorted(leaving.metrics.items()):
        if name not in limits.metrics:
            message = f"metric {quoted(name)} is not among those that may leave: {listed(limits.metrics) or 'none'}"
            refusals += check.deny(message, policy=("may_leave", "metrics"))
            continue
        for key, within, beyond in (("minimum", _at_least, "below"), ("maximum", _at_most, "above")):
            bound = getattr(bounds.get(name), key, None)
            if bound is not None and not within(value, bound):
                # The value stays unsaid: a refusal leaves the site, and the trainer chose the digits.
                message = f"metric {quoted(name)} is {beyond} its {key}, {bound:g}"
                refusals += check.deny(message, policy=("may_leave", "metric_bounds", name, key))
    return refusals or check.allow("every metric may leave", policy=("may_leave", "metrics"))


def _at_least(value: float, bound: float) -> bool:
    return value >= bound


def _at_most(value: float, bound: float) -> bool:
    return value <= bound


RULE = Rule("metrics", judge, sections=("may_leave",))
