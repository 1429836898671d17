# SPDX-License-Identifier: Apache-2.0
"""`approval`: the ground on which the dataset may be used at all still holds."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted


def judge(check: Check) -> Outcomes:
    """Allow up to and including the approval's last day; asked anew at every gate."""
    grant = check.dataset
    if grant is None:
        return check.not_granted()
    approval = grant.approval
    if approval is None:
        return check.not_applicable("the policy names no approval of the dataset")
    what = f"the {approval.kind} approval {quoted(approval.reference)}"
    path: KeyPath = ("datasets", check.job.dataset.name, "approval", "until")
    if check.today > approval.until:
        message = f"{what} ended on {approval.until} and today is {check.today}"
        return check.deny(message, policy=path, job=("dataset", "name"))
    return check.allow(f"{what} holds until {approval.until}", policy=path)


RULE = Rule("approval", judge, sections=("datasets",))
