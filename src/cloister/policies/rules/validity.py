# SPDX-License-Identifier: Apache-2.0
"""`validity`: the policy is this site's, or the baseline, and counts today."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.dates import outside_dates
from cloister.policies.decision import quoted
from cloister.policies.model import BASELINE


def judge(check: Check) -> Outcomes:
    """Allow on the days from `valid_from` to `valid_until`, both included, if the document is the one it should be."""
    policy = check.policy
    expected = BASELINE if check.of_baseline else check.request.site
    if policy.policy != expected:
        return check.deny(f"is the policy of {quoted(policy.policy)}, not of {quoted(expected)}", policy=("policy",))
    if not check.of_baseline and policy.extends != BASELINE:
        return check.deny("the policy does not extend the baseline", policy=("extends",))
    if found := outside_dates(policy, check.today):
        said, key = found
        return check.deny(said, policy=(key,))
    return check.allow(f"version {policy.version} counts until {policy.valid_until}", policy=("valid_until",))


RULE = Rule("validity", judge)
