# SPDX-License-Identifier: Apache-2.0
"""`secure-aggregation`: where the policy requires it, the server sees sums of updates only."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule

_STATED: KeyPath = ("aggregation", "secure_aggregation")


def judge(check: Check) -> Outcomes:
    """Deny where it is required, because this version of Cloister cannot do it."""
    aggregation = check.policy.aggregation
    if aggregation is None or aggregation.secure_aggregation is None:
        return check.not_applicable("the policy does not require secure aggregation")
    message = "the policy requires secure aggregation, and this version of Cloister has none"
    return check.deny(message, policy=_STATED, job=("federation",))


RULE = Rule("secure-aggregation", judge, sections=("aggregation",))
