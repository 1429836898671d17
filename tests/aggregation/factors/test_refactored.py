# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.aggregation.factors import Trained, averaging_error, for_site, refactored
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
    wide,
)

EXACT = 1e-6
"""Relative; float32 rounds each value of the factors by at most 6e-8 of it, and all else is float64."""


def least(matrix: np.ndarray, rank: int) -> float:
    """What no matrix of that rank is nearer than (Eckart and Young), from the values of the dense matrix."""
    return float(np.linalg.norm(np.linalg.svd(matrix)[1][rank:]))


@given(st.one_of(sizes, wide), weights, seeds)
def test_it_is_the_best_approximation_of_the_sum(of: Sizes, each: list[float], seed: int) -> None:
    current = values(layout(of), seed)
    trained = sites(layout(of), each, seed + 1, current)
    found = refactored(current, trained)
    for layer in LAYERS:
        whole = mean_product(trained, layer)
        apart = float(np.linalg.norm(whole - product(found.arrays, layer)))
        assert apart <= least(whole, of.rank) + EXACT * np.linalg.norm(whole) + 1e-12 * summands(trained, layer)
        assert found.cut_off[layer] == pytest.approx(apart / np.linalg.norm(whole), abs=2 * EXACT)
    for name, array in found.arrays.items():
        assert array.dtype == np.float32 and array.shape == current[name].shape


@given(sizes, weights, seeds)
def test_it_is_exact_where_the_sum_has_no_higher_rank(of: Sizes, each: list[float], seed: int) -> None:
    # All sites learn in the same directions of the input, each with an A of its own: the sum has one rank.
    shape = layout(of)
    current = values(shape, seed)
    trained = sites(shape, each, seed + 1, current)
    random = np.random.Generator(np.random.PCG64(seed))
    for site, layer in itertools.product(trained, LAYERS):
        turn = random.normal(size=(of.rank, of.rank))
        site.arrays[f"{layer}.lora_A.weight"] = (turn @ current[f"{layer}.lora_A.weight"]).astype(np.float32)
    found = refactored(current, trained)
    for layer in LAYERS:
        whole = mean_product(trained, layer)
        assert found.cut_off[layer] < EXACT
        apart = np.linalg.norm(product(found.arrays, layer) - whole)
        assert apart <= EXACT * max(float(np.linalg.norm(whole)), summands(trained, layer))


@given(sizes, weights, seeds)
def test_the_rows_of_a_are_orthonormal_at_the_former_scale(of: Sizes, each: list[float], seed: int) -> None:
    current = values(layout(of), seed)
    found = refactored(current, sites(layout(of), each, seed + 1, current)).arrays
    for layer in LAYERS:
        before, a = current[f"{layer}.lora_A.weight"].astype(np.float64), found[f"{layer}.lora_A.weight"]
        few = min(a.shape)
        square = np.sort(np.linalg.svd(a.astype(np.float64))[1][:few] ** 2)
        np.testing.assert_allclose(square, np.full(few, np.linalg.norm(before) ** 2 / few), rtol=1e-5)


@given(sizes, seeds)
def test_before_anything_was_learnt_a_is_made_orthonormal_and_then_stays(of: Sizes, seed: int) -> None:
    current = initial_adapter(layout(of), seed)
    once = refactored(current, [Trained("a", 1, current), Trained("b", 3, current)]).arrays
    twice = refactored(once, [Trained("a", 1, once), Trained("b", 3, once)]).arrays
    for name, array in once.items():
        np.testing.assert_allclose(twice[name], array, atol=1e-6)
        if name.endswith("lora_B.weight"):
            assert not array.any()
        elif name.endswith("lora_A.weight"):
            assert np.linalg.matrix_rank(array) == min(array.shape)


def test_the_next_factors_are_near_to_the_former_ones() -> None:
    of = layout(Sizes(64, 48, 8))
    current = refactored(values(of, 0), [Trained("a", 1, values(of, 0))]).arrays
    trained = sites(of, [1, 2, 3, 4], 1, current)
    trained = [
        Trained(
            t.site,
            t.weight,
            {n: (current[n] + 0.01 * (a - current[n])).astype(np.float32) for n, a in t.arrays.items()},
        )
        for t in trained
    ]
    found = refactored(current, trained).arrays
    for layer in LAYERS:
        moved = max(error(found[f"{layer}.lora_{f}.weight"], current[f"{layer}.lora_{f}.weight"]) for f in "AB")
        wanted = error(mean_product(trained, layer), product(current, layer))
        assert moved < 2 * wanted < 0.02


@given(sizes, seeds)
def test_sites_that_learnt_nothing_change_nothing(of: Sizes, seed: int) -> None:
    start = values(layout(of), seed)
    current = refactored(start, [Trained("a", 1, start)]).arrays
    found = refactored(current, [Trained("a", 1, current), Trained("b", 17, current)])
    for name, array in found.arrays.items():
        np.testing.assert_allclose(array, current[name], rtol=1e-4, atol=2e-5 * float(np.abs(current[name]).max()))


@given(weights, seeds)
def test_the_order_of_arrival_does_not_show(each: list[float], seed: int) -> None:
    of = layout(Sizes(9, 7, 3))
    current = values(of, seed)
    trained = sites(of, each, seed, current)
    straight, back = refactored(current, trained), refactored(current, trained[::-1])
    for name, array in straight.arrays.items():
        assert array.tobytes() == back.arrays[name].tobytes()
    assert straight.cut_off == back.cut_off


def test_what_is_no_factor_is_averaged() -> None:
    of = layout(Sizes(9, 7, 3))
    trained = sites(of, [1, 3], 0)
    head = refactored(values(of, 9), trained).arrays["head.weight"]
    first, second = (each.arrays["head.weight"] for each in trained)
    np.testing.assert_allclose(head, 0.25 * first + 0.75 * second, rtol=1e-6)


@given(sizes, st.lists(st.tuples(st.integers(1, 16), st.floats(0.01, 1e6)), min_size=2, max_size=8), seeds)
def test_sites_of_lower_ranks_add_what_they_changed(of: Sizes, each: list[tuple[int, float]], seed: int) -> None:
    current = values(layout(of), seed)
    trained, total = [], sum(weight for _, weight in each)
    wanted = {layer: product(current, layer) for layer in LAYERS}
    for index, (rank, weight) in enumerate(each):
        given = for_site(current, min(rank, of.rank))
        changed = values(layout(Sizes(of.output, of.input, min(rank, of.rank))), seed + index, 0.1)
        mine: Arrays = {name: (given[name] + changed[name]).astype(np.float32) for name in given}
        trained.append(Trained(f"s{index}", weight, mine))
        for layer in LAYERS:
            wanted[layer] = wanted[layer] + weight / total * (product(mine, layer) - product(given, layer))
    found = refactored(current, trained)
    for layer, whole in wanted.items():
        apart = np.linalg.norm(product(found.arrays, layer) - whole)
        assert apart <= least(whole, of.rank) + EXACT * (np.linalg.norm(whole) + summands(trained, layer))
        assert found.arrays[f"{layer}.lora_A.weight"].shape == current[f"{layer}.lora_A.weight"].shape


@given(sizes, seeds, st.integers(1, 16))
def test_a_site_is_given_the_best_that_its_rank_holds(of: Sizes, seed: int, rank: int) -> None:
    current, rank = values(layout(of), seed), min(rank, of.rank)
    given = for_site(current, rank)
    for layer in LAYERS:
        assert given[f"{layer}.lora_A.weight"].shape[0] == given[f"{layer}.lora_B.weight"].shape[1] == rank
        whole = product(current, layer)
        assert np.linalg.norm(product(given, layer) - whole) <= least(whole, rank) + EXACT * np.linalg.norm(whole)
    assert given["head.weight"].tobytes() == current["head.weight"].tobytes()


def test_a_site_of_the_jobs_rank_is_given_the_factors_themselves() -> None:
    current = values(layout(Sizes(9, 7, 3)), 0)
    assert all(for_site(current, 3)[name] is array for name, array in current.items())


def test_a_rank_that_no_site_can_have_is_refused() -> None:
    current = values(layout(Sizes(9, 7, 3)), 0)
    with pytest.raises(ValueError, match="rank 3 cannot be given with rank 4"):
        for_site(current, 4)
    with pytest.raises(ValueError, match="cannot be given with rank 0"):
        for_site(current, 0)
    with pytest.raises(ValueError, match="a site has rank 4 and the job 3"):
        refactored(current, sites(layout(Sizes(9, 7, 4)), [1], 0))


@given(
    sizes,
    weights,
    seeds,
    st.sampled_from([1e-30, 1e-12, 1.0, 1e12, 1e30]),
    st.sampled_from([1e-30, 1e-12, 1.0, 1e12, 1e30]),
)
def test_scale_is_no_matter(of: Sizes, each: list[float], seed: int, of_b: float, of_a: float) -> None:
    def scaled(arrays: Arrays) -> Arrays:
        factor = {"A": of_a, "B": of_b}
        return {
            n: (a * np.float32(factor.get(n.split("lora_")[-1][0], 1))).astype(np.float32) for n, a in arrays.items()
        }

    plain = values(layout(of), seed)
    trained = [Trained(t.site, t.weight, scaled(t.arrays)) for t in sites(layout(of), each, seed + 1, plain)]
    found = refactored(scaled(plain), trained)
    for layer in LAYERS:
        whole = mean_product(trained, layer)
        apart = np.linalg.norm(product(found.arrays, layer) - whole)
        assert apart <= least(whole, of.rank) + EXACT * summands(trained, layer)
    assert all(np.isfinite(array).all() for array in found.arrays.values())


DEGENERATE = {
    "zeros": np.zeros,
    "ones": np.ones,
    "repeated singular values": lambda shape: np.eye(*shape),
    "one row": lambda shape: np.eye(*shape) * (np.arange(shape[0]) == 0)[:, None],
    "tiny beside huge": lambda shape: np.eye(*shape) * np.logspace(-30, 30, shape[0])[:, None],
}


@pytest.mark.parametrize("of", [Sizes(6, 6, 3), Sizes(3, 8, 5), Sizes(2, 2, 7), Sizes(1, 1, 1), Sizes(8, 2, 4)])
@pytest.mark.parametrize(("a", "b"), list(itertools.product(DEGENERATE, repeat=2)))
def test_degenerate_factors_stay_numbers(of: Sizes, a: str, b: str) -> None:
    shape = layout(of)
    arrays: Arrays = {
        tensor.name: DEGENERATE[a if "lora_A" in tensor.name else b](tensor.shape).astype(np.float32)
        for tensor in shape.tensors
    }
    for current in (arrays, values(shape, 0), initial_adapter(shape, 0)):
        trained = [Trained("a", 1, arrays), Trained("b", 2, arrays), Trained("c", 1, for_site(arrays, 1))]
        try:
            found = refactored(current, trained)
        except ValueError as raised:
            assert "too large" in str(raised) and "tiny beside huge" in (a, b)
            continue
        assert all(np.isfinite(array).all() for array in found.arrays.values())
        assert all(0 <= share <= 1 for share in found.cut_off.values())
    assert np.isfinite(averaging_error([Trained("a", 1, arrays), Trained("b", 2, values(shape, 1))]))


def test_what_no_float32_holds_is_refused() -> None:
    of = layout(Sizes(4, 4, 2))
    small = values(of, 0, 1e-30)
    with pytest.raises(ValueError, match="too large to be taken apart in float32"):
        refactored(small, [Trained("a", 1, values(of, 1, 1e25))])
