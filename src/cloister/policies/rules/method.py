# SPDX-License-Identifier: Apache-2.0
"""`method`: the way of training is granted, for that network, no larger, and on no other layers."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.jobs import Lora, Method
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.policies.sections import LoraGrant, Methods

_LORA: KeyPath = ("methods", "lora")
_FULL: KeyPath = ("methods", "full")


def judge(check: Check) -> Outcomes:
    """Allow low-rank adaptation up to `maximum_rank`, on layers that stand under `targets` word for word.

    A job that is content with less is allowed with what is granted, see `cloister.policies.rank_at`. Allow `ia3` on
    such layers, `prompt` and `prefix` up to `maximum_tokens`, `bitfit`, and training every weight of what stands under
    `networks`.
    """
    method = check.job.method
    if method is None:
        return check.not_applicable("the job trains nothing")
    at: KeyPath = ("method", method.name)
    granted = check.policy.methods
    if granted is None:
        return check.silent("methods", job=at)
    answer = _added(check, granted, method) or _own_weights(check, granted, method)
    return answer or check.deny(f"method {quoted(method.name)} is not granted", policy=("methods",), job=at)


def _added(check: Check, granted: Methods, method: Method) -> Outcomes:
    """The answer to a method that adds something to a base model; none where it is another, or not granted."""
    if method.lora is not None and granted.lora is not None:
        return _lora(check, granted.lora, method.lora)
    if method.ia3 is not None and granted.ia3 is not None:
        refusals = _targets(check, "ia3", granted.ia3.targets, method.ia3.targets)
        return refusals or check.allow("`ia3` is granted", policy=("methods", "ia3"), job=("method", "ia3"))
    if method.prompt is not None and granted.prompt is not None:
        return _tokens(check, "prompt", granted.prompt.maximum_tokens, method.prompt.tokens)
    if method.prefix is not None and granted.prefix is not None:
        return _tokens(check, "prefix", granted.prefix.maximum_tokens, method.prefix.tokens)
    return ()


def _own_weights(check: Check, granted: Methods, method: Method) -> Outcomes:
    """The answer to a method that trains a network's own weights; none where it is another, or not granted."""
    if method.bitfit is not None and granted.bitfit is not None:
        return check.allow("`bitfit` is granted", policy=("methods", "bitfit"), job=("method", "bitfit"))
    if method.full is not None and granted.full is not None:
        return _full(check, granted.full.networks)
    return ()


def _lora(check: Check, granted: LoraGrant, asked: Lora) -> Outcomes:
    at: KeyPath = ("method", "lora")
    refusals: Outcomes = ()
    most, rank = granted.maximum_rank, min(asked.rank, granted.maximum_rank)
    if rank < (asked.minimum_rank or asked.rank):
        lowest = "" if asked.minimum_rank is None else f", or {asked.minimum_rank} at least,"
        key = "rank" if asked.minimum_rank is None else "minimum_rank"
        message = f"rank {asked.rank}{lowest} is above the maximum of {most}"
        refusals = check.deny(message, policy=(*_LORA, "maximum_rank"), job=(*at, key))
    for variant in asked.variants:
        if variant not in (granted.variants or ()):
            message = f"variant {quoted(variant)} is not granted"
            refusals += check.deny(message, policy=(*_LORA, "variants"), job=(*at, variant))
    refusals += _targets(check, "lora", granted.targets, asked.targets)
    lowered = f", of the {asked.rank} that the job asks for," if rank < asked.rank else ""
    return refusals or check.allow(f"`lora` of rank {rank}{lowered} is granted", policy=_LORA, job=at)


def _targets(check: Check, method: str, granted: tuple[str, ...], asked: tuple[str, ...]) -> Outcomes:
    """A denial for each layer that is not granted."""
    refusals: Outcomes = ()
    for index, target in enumerate(asked):
        if target not in granted:
            message = f"target {quoted(target)} is not among the granted targets: {listed(granted) or 'none'}"
            where: KeyPath = ("method", method, "targets", index)
            refusals += check.deny(message, policy=("methods", method, "targets"), job=where)
    return refusals


def _tokens(check: Check, method: str, most: int, asked: int) -> Outcomes:
    path: KeyPath = ("methods", method)
    at: KeyPath = ("method", method)
    if asked > most:
        message = f"{asked} tokens are above the maximum of {most}"
        return check.deny(message, policy=(*path, "maximum_tokens"), job=(*at, "tokens"))
    return check.allow(f"{quoted(method)} of {asked} tokens is granted", policy=path, job=at)


def _full(check: Check, networks: tuple[str, ...]) -> Outcomes:
    at: KeyPath = ("method", "full")
    network = "base-model" if check.job.architecture is None else check.job.architecture.name
    if network not in networks:
        message = f"training {quoted(network)} whole is not granted: {listed(networks) or 'nothing'} is"
        return check.deny(message, policy=(*_FULL, "networks"), job=at)
    return check.allow(f"training {quoted(network)} whole is granted", policy=_FULL, job=at)


RULE = Rule("method", judge, sections=("methods",))
