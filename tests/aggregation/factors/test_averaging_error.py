# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given

from cloister.aggregation.factors import Trained, averaging_error
from cloister.aggregation.factors.pairs import mean_of
from tests.aggregation.factors.drawn import LAYERS, Sizes, layout, mean_product, product, seeds, sites, sizes, weights


def written_out(trained: list[Trained]) -> float:
    means = mean_of(list(trained[0].arrays), trained)
    apart = [np.linalg.norm(mean_product(trained, layer) - product(means, layer)) for layer in LAYERS]
    whole = [np.linalg.norm(mean_product(trained, layer)) for layer in LAYERS]
    return float(np.linalg.norm(apart) / np.linalg.norm(whole))


@given(sizes, weights, seeds)
def test_it_is_the_error_of_dense_matrices(of: Sizes, each: list[float], seed: int) -> None:
    trained = sites(layout(of), each, seed)
    found = averaging_error(trained)
    assert found == pytest.approx(written_out(trained), rel=1e-5, abs=1e-5)
    assert found >= 0


def test_it_is_nought_where_one_factor_is_shared() -> None:
    trained = sites(layout(Sizes(9, 7, 3)), [1, 2, 3], 0)
    shared = {name: array for name, array in trained[0].arrays.items() if name.endswith("lora_A.weight")}
    assert averaging_error([Trained(t.site, t.weight, {**t.arrays, **shared}) for t in trained]) == 0.0


def test_it_is_nought_where_nothing_was_learnt() -> None:
    trained = sites(layout(Sizes(9, 7, 3)), [1, 2], 0)
    zeros = {name: np.zeros_like(array) for name, array in trained[0].arrays.items() if "lora_B" in name}
    assert averaging_error([Trained(t.site, t.weight, {**t.arrays, **zeros}) for t in trained]) == 0.0


def test_the_order_of_arrival_does_not_show() -> None:
    trained = sites(layout(Sizes(9, 7, 3)), [1, 20, 300, 7], 0)
    assert len({averaging_error(list(order)) for order in itertools.permutations(trained)}) == 1


def test_a_lower_rank_counts_as_if_zeros_stood_behind_it() -> None:
    (small,), (large,) = sites(layout(Sizes(9, 7, 2)), [1], 0), sites(layout(Sizes(9, 7, 5)), [1], 1)
    padded = {
        name: np.pad(array, ((0, 3), (0, 0)) if "lora_A" in name else ((0, 0), (0, 3))) if "lora" in name else array
        for name, array in small.arrays.items()
    }
    other = Trained("other", 2, large.arrays)
    assert averaging_error([small, other]) == averaging_error([Trained(small.site, 1, padded), other]) > 0
