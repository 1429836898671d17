# SPDX-License-Identifier: Apache-2.0
"""Whole rounds by every rule: the merged weight is W + sum of p s B A of the sites, where the rule is called exact.

Updates take the way that they take at the server: the live tensors as one vector, combined by the weighted mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.aggregation import Contribution
from cloister.aggregation.factors import Trained, averaging_error, fedsvd, folded, fresh, refactored, rest_of, stacked
from cloister.aggregation.mean import Mean
from cloister.jobs.adapter import AdapterLayout, Arrays, initial_adapter
from cloister.jobs.aggregation import FactorRule
from cloister.jobs.live_tensors import frozen_factor, live_layout
from cloister.jobs.method import Lora
from cloister.vectors import ArraySource
from tests.aggregation.factors.drawn import (
    LAYERS,
    Sizes,
    layout,
    mean_product,
    product,
    seeds,
    sizes,
    weights,
)

ALPHA = 3.0
EXACT = 1e-6
"""Relative to W and to what is summed up; float32 rounds the mean of updates and then the factors, by 6e-8 each."""

Round = Callable[[AdapterLayout, Arrays, list[Trained], int], Arrays]


def averaged(of: AdapterLayout, current: Arrays, trained: list[Trained], number: int, rule: FactorRule) -> Arrays:
    """The live tensors plus the mean of the updates of them, the others as they were."""
    live = live_layout(of, frozen_factor(rule, number)).tensors
    contributions = [
        Contribution(
            each.site,
            each.weight,
            ArraySource(np.concatenate([(each.arrays[t.name] - current[t.name]).ravel() for t in live])),
        )
        for each in trained
    ]
    vector = np.concatenate(list(Mean().combine(contributions)))
    arrays, start = dict(current), 0
    for tensor in live:
        change = vector[start : start + tensor.size].reshape(tensor.shape)
        arrays[tensor.name] = current[tensor.name] + change
        start += tensor.size
    return arrays


def trained_at(
    of: AdapterLayout, current: Arrays, each: list[float], seed: int, rule: FactorRule, number: int, learnt: str
) -> list[Trained]:
    """What sites have after a round in which the live tensors learnt."""
    live = {tensor.name for tensor in live_layout(of, frozen_factor(rule, number)).tensors}
    trained = []
    for index, weight in enumerate(each):
        random = np.random.Generator(np.random.PCG64((seed, number, index)))
        arrays = dict(current)
        for name in sorted(live):
            change = random.normal(size=current[name].shape) * 0.1
            if learnt == "one direction" and "lora_B" in name:
                change = change[:, :1] * np.ones((1, change.shape[1]))
            if learnt != "nothing":
                arrays[name] = (current[name] + change).astype(np.float32)
        trained.append(Trained(f"site-{index}", weight, arrays))
    return trained


@pytest.mark.parametrize("rule", get_args(FactorRule))
@given(of=sizes, each=weights, seed=seeds, learnt=st.sampled_from(["all", "one direction", "nothing"]))
def test_nothing_of_the_sum_is_lost(rule: FactorRule, of: Sizes, each: list[float], seed: int, learnt: str) -> None:
    shape, scale = layout(of), ALPHA / of.rank
    random = np.random.Generator(np.random.PCG64(seed))
    current, behind = initial_adapter(shape, seed), {}
    for number in (1, 2, 3, 4):
        if rule == "flora":
            current = {name: current[name] for name in rest_of(current)} | fresh(shape, seed, number)
        trained = trained_at(shape, current, each, seed, rule, number, learnt)
        cut_off = dict.fromkeys(LAYERS, 0.0)
        if rule == "flora":
            before, behind = behind, folded(behind, stacked(trained)).arrays
            found = behind
        elif rule == "refactored":
            combined = refactored(current, trained)
            found, cut_off = combined.arrays, combined.cut_off
        elif rule == "fedsvd":
            found = fedsvd(current, trained).arrays
        else:
            found = averaged(shape, current, trained, number, rule)
        for layer in LAYERS:
            whole = mean_product(trained, layer)
            if rule == "flora" and before:
                whole = whole + product(before, layer)
            weight = random.normal(size=whole.shape)
            merged = weight + scale * product(found, layer)
            apart = float(np.linalg.norm(merged - (weight + scale * whole)))
            summed = scale * sum(np.linalg.norm(product(t.arrays, layer)) for t in trained) + scale * np.linalg.norm(
                whole
            )
            # What a rule is known to lose it tells: averaging of both factors, and ranks that the sum is above.
            wrong = averaging_error(trained) * scale * total_norm(trained) if rule == "fedit" else 0.0
            known = cut_off[layer] * scale * float(np.linalg.norm(whole)) + wrong
            assert apart <= known * (1 + EXACT) + EXACT * summed
        if rule in ("ffa-lora", "fedsvd", "rolora"):
            assert averaging_error(trained) == 0.0
        if rule != "flora":
            current = found


def total_norm(trained: list[Trained]) -> float:
    return float(np.linalg.norm([np.linalg.norm(mean_product(trained, layer)) for layer in LAYERS]))


def test_averaging_both_factors_does_lose() -> None:
    of = layout(Sizes(24, 24, 4))
    current = initial_adapter(of, 0)
    trained = trained_at(of, current, [1, 1, 1, 1], 0, "fedit", 1, "all")
    found = averaged(of, current, trained, 1, "fedit")
    lost = np.linalg.norm(product(found, "m.query") - mean_product(trained, "m.query"))
    assert averaging_error(trained) > 0.1
    assert lost > 0.1 * np.linalg.norm(mean_product(trained, "m.query"))


@pytest.mark.parametrize("rslora", [False, True])
@given(rank=st.integers(1, 16), alpha=st.integers(1, 64), lower=st.integers(1, 16))
def test_the_scale_is_the_same_at_every_rank(rslora: bool, rank: int, alpha: int, lower: int) -> None:
    lora = Lora(rank=rank, alpha=alpha, targets=("query",), rslora=rslora)
    root = 0.5 if rslora else 1.0
    assert lora.alpha_at(lower) / lower**root == pytest.approx(alpha / rank**root)
    assert lora.alpha_at(rank) == alpha
