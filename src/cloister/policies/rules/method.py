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

    A job that is content with less is allowed with what is granted, see `cloister.policies.rank_at`. Allow training every
    weight of what stands under `networks`.
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
    most, rank = granted.maximum_rank, min(asked.rank, granted.maximum_rank)
    if rank < (asked.minimum_rank or asked.rank):
        lowest = "" if asked.minimum_rank is None else f", or {asked.minimum_rank} at least,"
        key = "rank" if asked.minimum_rank is None else "minimum_rank"
        message = f"rank {asked.rank}{lowest} is above the maximum of {most}"
        refusals += check.deny(message, policy=(*_LORA, "maximum_rank"), job=(*at, key))
    for variant in asked.variants:
        if variant not in (granted.variants or ()):
            path = _LORA if granted.variants is None else (*_LORA, "variants")
            refusals += check.deny(f"variant {quoted(variant)} is not granted", policy=path, job=(*at, variant))
    for index, target in enumerate(asked.targets):
        if target not in granted.targets:
            message = f"target {quoted(target)} is not among the granted targets: {listed(granted.targets) or 'none'}"
            refusals += check.deny(message, policy=(*_LORA, "targets"), job=(*at, "targets", index))
    lowered = f", of the {asked.rank} that the job asks for," if rank < asked.rank else ""
    return refusals or check.allow(f"`lora` of rank {rank}{lowered} is granted", policy=_LORA, job=at)


RULE = Rule("method", judge, sections=("methods",))
