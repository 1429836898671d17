# SPDX-License-Identifier: Apache-2.0
"""`statistics`: descriptions of features may leave, and none of them counts fewer records than the policy says."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule

_STATED: KeyPath = ("may_leave", "statistics")
_ASKED: KeyPath = ("task",)


def judge(check: Check) -> Outcomes:
    """Allow where the policy grants it, and every count that leaves is large enough."""
    if not check.job.form.statistics:
        return check.not_applicable("the job describes no features")
    if check.policy.may_leave is None:
        return check.silent("may_leave", job=_ASKED)
    grant = check.policy.may_leave.statistics
    if grant is None:
        message = f"a job of task `{check.job.task}` sends descriptions of features, and none may leave"
        return check.deny(message, policy=("may_leave",), job=_ASKED)
    leaving = check.request.leaving
    smallest = None if leaving is None else leaving.smallest_count
    if smallest is not None and not smallest >= grant.minimum_count:
        message = f"a count of fewer than {grant.minimum_count} records would leave"
        return check.deny(message, policy=(*_STATED, "minimum_count"), job=_ASKED)
    message = f"descriptions of features may leave, over {grant.minimum_count} records or more"
    return check.allow(message, policy=_STATED, job=_ASKED)


RULE = Rule("statistics", judge, sections=("may_leave",))
