# SPDX-License-Identifier: Apache-2.0
"""`selection-metric`: the number by which the result is picked is one that may leave the site."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted

_STATED: KeyPath = ("may_leave", "metrics")
_ASKED: KeyPath = ("select_by", "metric")


def judge(check: Check) -> Outcomes:
    """Allow a metric that stands under `may_leave.metrics`; without it the server could not pick a round."""
    selection = check.job.select_by
    if selection is None:
        return check.not_applicable("the job trains nothing")
    if check.policy.may_leave is None:
        return check.silent("may_leave", job=_ASKED)
    granted, metric = check.policy.may_leave.metrics, selection.metric
    if metric not in granted:
        message = f"metric {quoted(metric)} is not among those that may leave: {listed(granted) or 'none'}"
        return check.deny(message, policy=_STATED, job=_ASKED)
    return check.allow(f"metric {quoted(metric)} may leave", policy=_STATED, job=_ASKED)


RULE = Rule("selection-metric", judge, sections=("may_leave",))
