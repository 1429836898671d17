# SPDX-License-Identifier: Apache-2.0
"""Which parts of a job's `method`, `aggregation` and `compression` do not go together, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from cloister.jobs.aggregation import Aggregation
from cloister.jobs.compression import Compression
from cloister.jobs.method import Method


class Participation(Protocol):
    """How many sites take part how often; what a job says under `federation`."""

    @property
    def rounds(self) -> int:
        """How many."""

    @property
    def minimum_sites(self) -> int:
        """Fewer updates fail the job."""


@dataclass(frozen=True)
class _Clash:
    """Every key of ``these`` with every one of ``those``.

    Attributes:
        these: keys as `_chosen` gives them.
        those: likewise.
        why: end of a sentence.
    """

    these: tuple[str, ...]
    those: tuple[str, ...]
    why: str


def _factors(*rules: str) -> tuple[str, ...]:
    return tuple(f"aggregation.factors: {rule}" for rule in rules)


_ROBUST = tuple(
    f"aggregation.rule.{rule}" for rule in ("median", "trimmed_mean", "krum", "multi_krum", "geometric_median")
)
_ADAPTIVE = tuple(f"aggregation.server.{rule}" for rule in ("adam", "yogi", "adagrad"))
_NESTEROV = ("aggregation.server.nesterov",)
_CLIENT = tuple(f"aggregation.client.{rule}" for rule in ("fedprox", "scaffold", "ditto", "calibration"))
_SCAFFOLD = ("aggregation.client.scaffold",)
_DITTO = ("aggregation.client.ditto",)
_PERSONAL = ("aggregation.personal",)
_FEEDBACK = ("compression.error_feedback: true",)
_UNSAID_FEEDBACK = ", which holds where the job says nothing (write `error_feedback: false`)"
_NO_FEEDBACK = ("compression.error_feedback: false",)
_COARSE_DOWN = ("compression.down: int8", "compression.down: int4")
_LOSSY_DOWN = ("compression.down: bfloat16", "compression.down: float16", *_COARSE_DOWN)

_CLASHES = (
    # A product of factors is no value among values: which of several products is the median is not defined.
    _Clash(
        _factors("refactored", "flora"),
        (*_ROBUST, "aggregation.mixing"),
        "the sites' products are summed with their weights, and there is nothing to choose among",
    ),
    _Clash(
        _factors("refactored", "flora"),
        ("aggregation.maximum_norm",),
        "how long an update of factors is does not say how long their product is, which is summed",
    ),
    _Clash(
        _factors("refactored"),
        _ADAPTIVE,
        "a step of its own for each value leaves nothing of the sum that refactoring keeps",
    ),
    # Momentum of former rounds is in the former basis.
    _Clash(
        _factors("fedsvd"),
        (*_NESTEROV, *_ADAPTIVE),
        "the factors' basis turns after each round, and what the server remembers of former steps would be in another",
    ),
    _Clash(
        _factors("flora"),
        (*_NESTEROV, *_ADAPTIVE),
        "each round's factors are drawn anew, and there are no former steps that the server could remember",
    ),
    _Clash(
        _factors("flora"),
        (*_SCAFFOLD, *_DITTO),
        "each round's factors are drawn anew, and nothing that a site keeps of the former ones fits them",
    ),
    _Clash(
        _factors("refactored", "fedsvd"),
        (*_SCAFFOLD, *_DITTO),
        "the factors' basis turns after each round, and what a site keeps would be in another",
    ),
    _Clash(
        _factors("rolora"),
        _SCAFFOLD,
        "only one factor is trained in a round, and the other's control variate would be of another point",
    ),
    # Sites train on top of what they fold in: it must be the same everywhere, and what is rounded off stays lost.
    _Clash(
        _factors("flora"),
        _LOSSY_DOWN,
        "what comes down is folded into the base model's weights at every site and must be exact",
    ),
    _Clash(
        _factors("fedsvd"),
        _COARSE_DOWN,
        "the factors' basis turns after each round, so that they come down as a whole, and not as a small change",
    ),
    _Clash(
        _factors("fedsvd", "flora"),
        _FEEDBACK,
        "what was rounded off in one round is in a basis that the next round does not have",
    ),
    _Clash(
        _SCAFFOLD,
        (*_ROBUST, "aggregation.mixing", "aggregation.maximum_norm"),
        "control variates are the mean of the sites' own, and a bad site would come in through them",
    ),
    _Clash(
        _SCAFFOLD,
        _NO_FEEDBACK,
        "control variates must stay the mean of the sites' own, and what rounding took would never come back",
    ),
    _Clash(_DITTO, _PERSONAL, "the site's own copy has every layer already"),
    _Clash(
        _factors("flora"),
        _PERSONAL,
        "a layer that stays at a site may hold factors, and those of all sites are folded in everywhere",
    ),
    # What else a trainer must do is missed where it does not do it; of these nobody would see.
    _Clash(("code",), (*_CLIENT, *_factors("flora")), "a trainer that the job brings does not know how"),
)

_FACTOR_NAMES = frozenset({"lora_A", "lora_B"})
_MIXED_RANKS = ("refactored", "flora")


def objections(
    method: Method,
    aggregation: Aggregation,
    compression: Compression,
    federation: Participation,
    *,
    own_code: bool = False,
) -> list[str]:
    """Why a job cannot be as it is, each reason a predicate in one sentence that names both keys; empty where it can.

    Args:
        method: what is trained.
        aggregation: how updates are combined.
        compression: how values travel.
        federation: how many sites take part, and how often.
        own_code: whether the job brings its trainer.
    """
    chosen = _chosen(aggregation, compression, own_code=own_code)
    unsaid = "" if "error_feedback" in compression.model_fields_set else _FEEDBACK[0]
    found = [
        f"may not have both `{this}` and `{that}`{_UNSAID_FEEDBACK if that == unsaid else ''}: {clash.why}"
        for clash in _CLASHES
        for this in clash.these
        if this in chosen
        for that in clash.those
        if that in chosen
    ]
    found += _about_method(method, aggregation)
    found += _about_bad_sites(aggregation, federation)
    if aggregation.factors == "rolora" and federation.rounds < 2:
        found.append(
            "needs `federation.rounds` of at least 2 for `aggregation.factors: rolora`: "
            "the factors are trained in turns, and one of them never would be"
        )
    return found


def _chosen(aggregation: Aggregation, compression: Compression, *, own_code: bool) -> frozenset[str]:
    """What the job says, as the table has it; that rounding is made up for only where there is any."""
    rounds = (compression.up, compression.down) != ("float32", "float32")
    said: Mapping[str, bool] = {
        f"aggregation.rule.{aggregation.rule.name}": True,
        "aggregation.maximum_norm": aggregation.maximum_norm is not None,
        "aggregation.mixing": aggregation.mixing is not None,
        f"aggregation.factors: {aggregation.factors}": aggregation.factors is not None,
        "aggregation.personal": bool(aggregation.personal),
        f"compression.up: {compression.up}": True,
        f"compression.down: {compression.down}": True,
        f"compression.error_feedback: {str(compression.error_feedback).lower()}": rounds,
        "code": own_code,
    }
    named = [key for key, given in said.items() if given]
    named += [f"aggregation.server.{aggregation.server.name}"] if aggregation.server else []
    named += [f"aggregation.client.{aggregation.client.name}"] if aggregation.client else []
    return frozenset(named)


def _about_method(method: Method, aggregation: Aggregation) -> Iterator[str]:
    factors, lora = aggregation.factors, method.lora
    if lora is None:
        if factors is not None:
            yield (
                f"may not have both `method.{method.name}` and `aggregation.factors: {factors}`: "
                "only low-rank adaptation has factors"
            )
        return
    if lora.dora and factors not in (None, "fedit"):
        yield (
            f"may not have both `method.lora.dora` and `aggregation.factors: {factors}`: "
            "a merged weight that is brought to a length is no sum, and no rule for factors keeps it"
        )
    if lora.base_model_precision != "float32" and factors == "flora":
        yield (
            f"may not have both `method.lora.base_model_precision: {lora.base_model_precision}` and "
            "`aggregation.factors: flora`: what is folded into rounded weights is rounded with them"
        )
    for layer in aggregation.personal if factors not in (None, "fedit", "flora") else ():
        if not _FACTOR_NAMES.isdisjoint(layer.split(".")):
            yield (
                f"may not have `{layer}` in `aggregation.personal` with `aggregation.factors: {factors}`: "
                "the rule needs both factors of a layer"
            )
    if lora.minimum_rank is not None and lora.minimum_rank < lora.rank and factors not in _MIXED_RANKS:
        wanted = " or ".join(f"`aggregation.factors: {rule}`" for rule in _MIXED_RANKS)
        said = "" if factors is None else f", not `{factors}`,"
        yield f"needs {wanted}{said} for `method.lora.minimum_rank`: factors of several ranks have no mean of their own"


def _about_bad_sites(aggregation: Aggregation, federation: Participation) -> Iterator[str]:
    rule, bad, mixing = aggregation.rule.name, aggregation.rule.bad_sites, aggregation.mixing
    needed = {
        "median": 3,
        "geometric_median": 3,
        "trimmed_mean": 2 * bad + 1,
        "krum": 2 * bad + 3,
        "multi_krum": 2 * bad + 3,
    }.get(rule, 1)
    key, borne = f"aggregation.rule.{rule}", f"`bad_sites: {bad}`" if bad else "one bad site"
    if mixing is not None:
        if rule == "mean":
            said = "rule" in aggregation.model_fields_set
            unsaid = "" if said else ", which holds where the job says nothing (write a `rule`, such as `median: {}`)"
            yield (
                f"may not have both `aggregation.mixing` and `aggregation.rule.mean`{unsaid}: what a bad site sends is "
                "in its own mean and may be in others, and a rule that bears bad sites has to follow"
            )
        if bad and bad != mixing.bad_sites:
            yield (
                f"may not have `bad_sites: {mixing.bad_sites}` in `aggregation.mixing` and `bad_sites: {bad}` in "
                f"`aggregation.rule.{rule}`: they are the same sites"
            )
        if 2 * mixing.bad_sites + 1 > needed:
            needed, key, borne = 2 * mixing.bad_sites + 1, "aggregation.mixing", f"`bad_sites: {mixing.bad_sites}`"
    if federation.minimum_sites < needed:
        yield (
            f"needs `federation.minimum_sites` of at least {needed} for `{key}`, "
            f"which bears {borne} among no fewer, and gives {federation.minimum_sites}"
        )
