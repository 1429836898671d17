# SPDX-License-Identifier: Apache-2.0
"""`update-norm`: the update that leaves is no longer, as a vector, than the policy says."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule


def judge(check: Check) -> Outcomes:
    """Allow up to `maximum_norm`; asked at the egress gate, of an update that holds tensors."""
    leaving, limits = check.request.leaving, check.policy.may_leave
    if leaving is None:
        return check.not_applicable("is checked when something is about to leave")
    if limits is None:
        return check.silent("may_leave")
    most, norm, path = limits.maximum_norm, leaving.norm, ("may_leave", "maximum_norm")
    if most is None:
        return check.not_applicable("the policy states no `maximum_norm`")
    if norm is None and not leaving.tensors:
        return check.not_applicable("no tensors leave")
    if norm is None or not 0 <= norm <= most:  # not a number is not within
        # How far above stays unsaid: a refusal leaves the site, and the trainer chose the digits.
        said = "not known" if norm is None else "larger"
        return check.deny(f"the update's norm may be {most:g}, and is {said}", policy=path)
    return check.allow(f"the update's norm of {norm:.6g} is within {most:g}", policy=path)


RULE = Rule("update-norm", judge, sections=("may_leave",), waivable=True)
