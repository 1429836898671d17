# SPDX-License-Identifier: Apache-2.0
"""`method`: the way of training is granted, no higher in rank and on no other layers than the policy says."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted

_LORA: KeyPath = ("methods", "lora")
_ASKED: KeyPath = ("method", "lora")


def judge(check: Check) -> Outcomes:
    """Allow low-rank adaptation up to `maximum_rank`, on layers that stand under `targets` word for word."""
    if check.policy.methods is None:
        return check.silent("methods", job=_ASKED)
    granted, asked = check.policy.methods.lora, check.job.method.lora
    if granted is None:
        return check.deny("method `lora` is not granted", policy=("methods",), job=_ASKED)
    refusals: Outcomes = ()
    if asked.rank > granted.maximum_rank:
        message = f"rank {asked.rank} is above the maximum of {granted.maximum_rank}"
        refusals += check.deny(message, policy=(*_LORA, "maximum_rank"), job=(*_ASKED, "rank"))
    for index, target in enumerate(asked.targets):
        if target not in granted.targets:
            message = f"target {quoted(target)} is not among the granted targets: {listed(granted.targets) or 'none'}"
            refusals += check.deny(message, policy=(*_LORA, "targets"), job=(*_ASKED, "targets", index))
    return refusals or check.allow(f"`lora` of rank {asked.rank} is granted", policy=_LORA, job=_ASKED)


RULE = Rule("method", judge, sections=("methods",))
