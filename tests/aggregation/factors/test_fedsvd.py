# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from cloister.aggregation.factors import Trained, averaging_error, fedsvd, orthonormal
from cloister.jobs.adapter import Arrays, initial_adapter
from tests.aggregation.factors.drawn import (
    LAYERS,
    Sizes,
    error,
    layout,
    mean_product,
    product,
    seeds,
    sites,
    sizes,
    summands,
    values,
    weights,
)


def beside(current: Arrays, trained: list[Trained]) -> list[Trained]:
    """``trained`` as it is where only B and the head were."""
    shared = {name: array for name, array in current.items() if name.endswith("lora_A.weight")}
    return [Trained(each.site, each.weight, {**each.arrays, **shared}) for each in trained]


@given(sizes, weights, seeds)
def test_the_sum_is_kept_and_a_is_orthonormal(of: Sizes, each: list[float], seed: int) -> None:
    current = initial_adapter(layout(of), seed)
    for _ in range(3):
        trained = beside(current, sites(layout(of), each, seed, current))
        found = fedsvd(current, trained)
        assert averaging_error(trained) == 0.0
        for layer in LAYERS:
            a = found.arrays[f"{layer}.lora_A.weight"].astype(np.float64)
            apart = np.linalg.norm(product(found.arrays, layer) - mean_product(trained, layer))
            assert apart <= 1e-6 * summands(trained, layer)
            few = min(a.shape)
            np.testing.assert_allclose(a[:few] @ a[:few].T, np.eye(few), atol=1e-6)
            assert not a[few:].any()
            before = current[f"{layer}.lora_A.weight"].astype(np.float64)
            if np.linalg.matrix_rank(before) == few:
                # No row has left what the former rows span.
                onto = np.linalg.pinv(before) @ before
                np.testing.assert_allclose(a @ onto, a, atol=1e-4)
            lengths = np.linalg.norm(found.arrays[f"{layer}.lora_B.weight"].astype(np.float64), axis=0)
            assert (np.diff(lengths) <= 1e-6 * lengths[0]).all()
        assert found.cut_off == dict.fromkeys(LAYERS, 0.0)
        current = found.arrays


def test_the_same_product_has_the_same_factors() -> None:
    arrays = values(layout(Sizes(9, 7, 3)), 0)
    once = orthonormal(arrays)
    again = orthonormal(once)
    for name, array in once.items():
        np.testing.assert_allclose(again[name], array, atol=1e-5)


def test_where_nothing_was_learnt_a_keeps_its_directions() -> None:
    start = initial_adapter(layout(Sizes(9, 7, 3)), 0)
    found = orthonormal(start)
    for layer in LAYERS:
        a, before = found[f"{layer}.lora_A.weight"], start[f"{layer}.lora_A.weight"]
        assert not found[f"{layer}.lora_B.weight"].any()
        assert np.linalg.matrix_rank(np.vstack([a, before]).astype(np.float64), tol=1e-5) == 3


def test_the_order_of_arrival_does_not_show() -> None:
    of = layout(Sizes(9, 7, 3))
    current = values(of, 0)
    trained = beside(current, sites(of, [1, 20, 300, 7], 1, current))
    straight, back = fedsvd(current, trained), fedsvd(current, trained[::-1])
    assert all(array.tobytes() == back.arrays[name].tobytes() for name, array in straight.arrays.items())


@pytest.mark.parametrize("of", [Sizes(6, 6, 3), Sizes(3, 8, 5), Sizes(2, 2, 7), Sizes(1, 1, 1), Sizes(8, 2, 4)])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("make", [np.ones, lambda shape: np.eye(*shape)], ids=["ones", "repeated singular values"])
def test_degenerate_factors_stay_numbers(of: Sizes, scale: float, make: type) -> None:
    arrays: Arrays = {
        tensor.name: (make(tensor.shape) * (scale if "lora_B" in tensor.name else 1)).astype(np.float32)
        for tensor in layout(of).tensors
    }
    found = orthonormal(arrays)
    for layer in LAYERS:
        assert error(product(found, layer), product(arrays, layer)) < 1e-6
    assert all(np.isfinite(array).all() for array in found.values())
