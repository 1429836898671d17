# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.aggregation.factors import (
    Trained,
    check_folded,
    folded,
    fresh,
    most_folded_bytes,
    patterns,
    stacked,
)
from cloister.aggregation.factors.flora import Folded
from cloister.jobs.adapter import Arrays
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
    weights,
)


@given(sizes, st.lists(st.tuples(st.integers(1, 16), st.floats(0.01, 1e6)), min_size=2, max_size=8), seeds)
def test_over_rounds_all_products_add_up(of: Sizes, each: list[tuple[int, float]], seed: int) -> None:
    whole = {layer: np.zeros(1) for layer in LAYERS}
    lengths = dict.fromkeys(LAYERS, 0.0)
    now = Folded({})
    for number in (1, 2, 3):
        trained = []
        for index, (rank, weight) in enumerate(each):
            mine = layout(Sizes(of.output, of.input, rank))
            (site,) = sites(mine, [weight], seed + 100 * number + index, fresh_with_head(mine, seed, number))
            trained.append(Trained(f"s{index}", weight, site.arrays))
        stack, before = stacked(trained), now
        now = folded(now.arrays, stack)
        for layer in LAYERS:
            whole[layer] = whole[layer] + mean_product(trained, layer)
            lengths[layer] += float(np.linalg.norm(mean_product(trained, layer)))
            assert np.linalg.norm(product(now.arrays, layer) - whole[layer]) <= 1e-6 * lengths[layer]
            b, a = now.arrays[f"{layer}.lora_B.weight"], now.arrays[f"{layer}.lora_A.weight"]
            assert 1 <= len(a) == b.shape[1] <= min(len(b), a.shape[1])
            assert a.dtype == b.dtype == np.float32
            check_folded(now.arrays, layout(of))
            assert sum(array.nbytes for array in now.arrays.values()) <= most_folded_bytes(layout(of))
            if not now.anew and before.arrays:
                # What a site has stays as it is, so that the stack alone need travel.
                width = before.arrays[f"{layer}.lora_B.weight"].shape[1]
                assert a[:width].tobytes() == before.arrays[f"{layer}.lora_A.weight"].tobytes()
                assert a[width:].tobytes() == stack[f"{layer}.lora_A.weight"].tobytes()


def fresh_with_head(of: object, seed: int, number: int) -> Arrays:
    drawn = fresh(of, seed, number)  # type: ignore[arg-type]
    assert set(drawn) == {f"{layer}.lora_{factor}.weight" for layer in LAYERS for factor in "AB"}
    return {**drawn, "head.weight": np.zeros((2, 3), np.float32)}


def test_fresh_factors_are_of_the_seed_and_the_round() -> None:
    of = layout(Sizes(9, 7, 3))
    first, again = fresh(of, 5, 1), fresh(of, 5, 1)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    for other in (fresh(of, 5, 2), fresh(of, 6, 1), fresh(of, 1, 5)):
        assert first["m.query.lora_A.weight"].tobytes() != other["m.query.lora_A.weight"].tobytes()
    assert not first["m.query.lora_B.weight"].any()
    assert np.abs(first["m.query.lora_A.weight"]).max() <= 7**-0.5


def test_a_stack_is_as_short_as_its_product_allows() -> None:
    of = layout(Sizes(40, 40, 4))
    (one,) = sites(of, [1], 0)
    same = [Trained(name, 1, one.arrays) for name in "abc"]
    assert len(stacked(same)["m.query.lora_A.weight"]) == 4
    assert len(stacked(sites(of, [1, 2, 3], 0))["m.query.lora_A.weight"]) == 12
    assert error(product(stacked(same), "m.query"), product(one.arrays, "m.query")) < 1e-6


def test_nothing_learnt_is_one_direction_of_zeros() -> None:
    of = layout(Sizes(9, 7, 3))
    stack = stacked([Trained("a", 1, fresh(of, 0, 1)), Trained("b", 1, fresh(of, 0, 1))])
    assert len(stack["m.query.lora_A.weight"]) == 1
    assert not product(stack, "m.query").any()


@pytest.mark.parametrize(
    ("name", "changed", "wrong"),
    [
        ("m.query.lora_A.weight", np.zeros((3, 8)), "into m.query are not of its shape"),
        ("m.query.lora_A.weight", np.zeros((2, 7)), "into m.query are not of its shape"),
        ("m.query.lora_A.weight", np.zeros(7), "into m.query are not of its shape"),
        ("m.query.lora_B.weight", np.zeros((8, 3)), "into m.query are not of its shape"),
        ("m.value.lora_B.weight", np.full((4, 3), np.nan), "into m.value are not finite float32"),
        ("m.value.lora_A.weight", np.full((3, 3), np.inf), "into m.value are not finite float32"),
        ("m.value.lora_C.weight", np.zeros((3, 3)), "not those of the job's layers"),
        ("head.weight", np.zeros((2, 3)), "not those of the job's layers"),
    ],
)
def test_what_cannot_be_folded_is_refused(name: str, changed: np.ndarray, wrong: str) -> None:
    of = layout(Sizes(9, 7, 3))
    good = fresh(of, 0, 1)
    check_folded(good, of)
    check_folded(good, of.at_rank(1))
    with pytest.raises(ValueError, match=wrong):
        check_folded({**good, name: changed.astype(np.float32)}, of)


def test_ranks_that_a_layer_cannot_have_and_other_types_are_refused() -> None:
    of = layout(Sizes(9, 7, 8))
    with pytest.raises(ValueError, match="not of its shape"):
        check_folded(fresh(of, 0, 1), of)
    small = fresh(layout(Sizes(9, 7, 3)), 0, 1)
    with pytest.raises(ValueError, match="not finite float32"):
        check_folded({name: array.astype(np.float64) for name, array in small.items()}, of)  # type: ignore[misc]


@given(weights, seeds)
def test_the_order_of_arrival_does_not_show(each: list[float], seed: int) -> None:
    trained = sites(layout(Sizes(9, 7, 3)), each, seed)
    straight, back = stacked(trained), stacked(trained[::-1])
    assert all(array.tobytes() == back[name].tobytes() for name, array in straight.items())


@pytest.mark.parametrize(
    ("of_a", "of_b"), list(itertools.product([1e-30, 1.0, 1e30], repeat=2)), ids=lambda scale: f"{scale:g}"
)
def test_scale_is_no_matter(of_a: float, of_b: float) -> None:
    trained = sites(layout(Sizes(9, 7, 3)), [1, 5, 2], 0)
    for each, (name, array) in itertools.product(trained, list(trained[0].arrays.items())):
        each.arrays[name] = (each.arrays[name] * np.float32(of_a if "lora_A" in name else of_b)).astype(np.float32)
        assert array.shape == each.arrays[name].shape
    stack = stacked(trained)
    assert all(np.isfinite(array).all() for array in stack.values())
    for layer in LAYERS:
        assert error(product(stack, layer), mean_product(trained, layer)) < 1e-6


@pytest.mark.parametrize(("root", "alpha"), [(False, 2.0 * 12), (True, 2.0 * 12**0.5)])
def test_peft_is_told_the_rank_and_alpha_of_each_layer(root: bool, alpha: float) -> None:
    stack = stacked(sites(layout(Sizes(40, 40, 4)), [1, 2, 3], 0))
    found = patterns(stack, 2.0, prefix="m.", root=root)
    assert found["rank_pattern"] == {"query": 12, "value": 12}
    assert found["alpha_pattern"] == pytest.approx({"query": alpha, "value": alpha})
