# SPDX-License-Identifier: Apache-2.0
"""`method`: the way of training is granted, for that network, no higher in rank and on no other layers."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.jobs import Lora
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.policies.sections import LoraGrant

_LORA: KeyPath = ("methods", "lora")
_FULL: KeyPath = ("methods", "full")


def judge(check: Check) -> Outcomes:
    """Allow low-rank adaptation up to `maximum_rank`, on layers that stand under `targets` word for word.

    Allow training every weight of what stands under `networks`.
    """
    method = check.job.method
    if method is None:
        return check.not_applicable("the job trains nothing")
    at: KeyPath = ("method", method.name)
    granted = check.policy.methods
    if granted is None:
        return check.silent("methods", job=at)
    if method.lora is not None and granted.lora is not None:
        return _lora(check, granted.lora, method.lora)
    if method.full is not None and granted.full is not None:
        network = "base-model" if check.job.architecture is None else check.job.architecture.name
        if network not in granted.full.networks:
            message = (
                f"training {quoted(network)} whole is not granted: {listed(granted.full.networks) or 'nothing'} is"
            )
            return check.deny(message, policy=(*_FULL, "networks"), job=at)
        return check.allow(f"training {quoted(network)} whole is granted", policy=_FULL, job=at)
    return check.deny(f"method {quoted(method.name)} is not granted", policy=("methods",), job=at)


def _lora(check: Check, granted: LoraGrant, asked: Lora) -> Outcomes:
    at: KeyPath = ("method", "lora")
    refusals: Outcomes = ()
    if asked.rank > granted.maximum_rank:
        message = f"rank {asked.rank} is above the maximum of {granted.maximum_rank}"
        refusals += check.deny(message, policy=(*_LORA, "maximum_rank"), job=(*at, "rank"))
    for index, target in enumerate(asked.targets):
        if target not in granted.targets:
            message = f"target {quoted(target)} is not among the granted targets: {listed(granted.targets) or 'none'}"
            refusals += check.deny(message, policy=(*_LORA, "targets"), job=(*at, "targets", index))
    return refusals or check.allow(f"`lora` of rank {asked.rank} is granted", policy=_LORA, job=at)


RULE = Rule("method", judge, sections=("methods",))
