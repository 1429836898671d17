# SPDX-License-Identifier: Apache-2.0
"""`tensors`: the parts of an update that the job makes, and that are about to leave, are those that may."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted

_STATED: KeyPath = ("may_leave", "tensors")


def judge(check: Check) -> Outcomes:
    """Allow where every part stands under `may_leave.tensors`.

    Jobs whose base model gets a head, such as those of task `text-classification`, send it every round beside the
    factors or weights of their method. Where its layers are personal it stays, and need not be granted; whether all
    of them are shows in what is about to leave.
    """
    parts = check.job.parts
    if not parts:
        return check.not_applicable("the job trains nothing")
    leaves = check.policy.may_leave
    if leaves is None:
        return check.silent("may_leave", job=("method",))
    refusals: Outcomes = ()
    for part in parts:
        if part not in leaves.tensors:
            path: KeyPath = ("task",) if part == "head" else ("method", check.job.way.name)
            message = f"the job sends tensors of its {part}, and what may leave is {listed(leaves.tensors) or 'none'}"
            refusals += check.deny(message, policy=_STATED, job=path)
    sent = () if check.request.leaving is None else check.request.leaving.tensors
    granted = set(check.job.possible_parts) & set(leaves.tensors)
    for part in sorted(set(sent) - set(parts) - granted):
        refusals += check.deny(f"tensors of kind {quoted(part)} may not leave", policy=_STATED)
    return refusals or check.allow(f"tensors of {listed(leaves.tensors)} may leave", policy=_STATED)


RULE = Rule("tensors", judge, sections=("may_leave",))
