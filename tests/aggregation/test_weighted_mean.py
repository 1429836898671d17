# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloister.aggregation import WeightedMean, mean_of_metrics
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "zeros"), TensorSpec("b", (4,), "zeros")), ())
ZEROS: Arrays = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}


def update(seed: int) -> Arrays:
    random = np.random.Generator(np.random.PCG64(seed))
    return {"a": random.normal(size=(2, 3)).astype(np.float32), "b": random.normal(size=4).astype(np.float32)}


def mean(updates: list[tuple[Arrays, float]], start: Arrays = ZEROS) -> Arrays:
    running = WeightedMean(LAYOUT)
    for each, weight in updates:
        running.add(each, weight)
    assert running.updates == len(updates)
    return running.applied_to(start)


def test_it_is_numpys_weighted_average() -> None:
    updates, weights = [update(seed) for seed in range(5)], [1, 17, 250, 3, 90_000]
    found = mean(list(zip(updates, weights, strict=True)), update(99))
    for name in ("a", "b"):
        stacked = np.stack([each[name] for each in updates]).astype(np.float64)
        plain = update(99)[name] + np.average(stacked, axis=0, weights=weights)
        np.testing.assert_array_equal(found[name], plain.astype(np.float32))
        assert found[name].dtype == np.float32


def test_one_update_is_added_as_it_is() -> None:
    found = mean([(update(1), 7)], update(2))
    for name in ("a", "b"):
        np.testing.assert_array_equal(found[name], update(2)[name] + update(1)[name])


@given(
    values=st.lists(arrays(np.float32, (4,), elements=st.floats(-100, 100, width=32)), min_size=2, max_size=4),
    weights=st.lists(st.integers(1, 10**6), min_size=4, max_size=4),
)
def test_the_order_of_arrival_does_not_show(values: list[np.ndarray], weights: list[int]) -> None:
    updates: list[tuple[Arrays, float]] = [
        ({"a": np.zeros((2, 3), np.float32), "b": value}, weight)
        for value, weight in zip(values, weights, strict=False)
    ]
    first = mean(updates)["b"]
    for order in itertools.permutations(updates):
        # Equal up to the last place of float32, also where the terms nearly cancel.
        np.testing.assert_allclose(mean(list(order))["b"], first, rtol=2e-7, atol=1e-10)


def test_what_is_handed_in_is_not_changed() -> None:
    given_, start = update(1), update(2)
    mean([(given_, 3), (given_, 4)], start)
    for name in ("a", "b"):
        np.testing.assert_array_equal(given_[name], update(1)[name])
        np.testing.assert_array_equal(start[name], update(2)[name])


@pytest.mark.parametrize("weight", [0, -1, -0.0, float("nan"), -float("inf")])
def test_a_weight_that_is_not_above_zero_is_refused_and_leaves_no_trace(weight: float) -> None:
    running = WeightedMean(LAYOUT)
    with pytest.raises(ValueError, match="above 0"):
        running.add(update(1), weight)
    assert running.updates == 0
    running.add(update(2), 1)
    np.testing.assert_array_equal(running.applied_to(ZEROS)["b"], update(2)["b"])


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no update"):
        WeightedMean(LAYOUT).applied_to(ZEROS)


def test_metrics_are_weighted_by_the_records_of_the_sites_that_told_them() -> None:
    measured = {
        "alpha": ({"accuracy": 0.5, "loss": 1.0}, 10),
        "beta": ({"accuracy": 1.0}, 30),
        "gamma": ({"accuracy": 0.0, "loss": 9.0}, 0),  # measured on nothing, so it says nothing
    }
    assert mean_of_metrics(measured) == {"accuracy": pytest.approx(0.875), "loss": 1.0}
    assert mean_of_metrics({}) == {}
    assert mean_of_metrics({"gamma": ({"accuracy": 0.0}, 0)}) == {}
