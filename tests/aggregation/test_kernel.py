# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.aggregation.kernel import LARGE, weighted_sum
from cloister.aggregation.mean import normalised
from cloister.vectors import BLOCK_VALUES, Vector
from tests.aggregation.contributions import contributions, drawn

LARGEST = float(np.finfo(np.float32).max)


def summed(updates: np.ndarray, weights: list[float]) -> Vector:
    return np.concatenate(list(weighted_sum(contributions(updates), weights)))


def bound(updates: np.ndarray, weights: list[float]) -> np.ndarray:
    """The error that `weighted_sum` states, and what float32's smallest number, 2^-149, adds to weights and terms."""
    sizes = np.abs(updates.astype(np.float64))
    terms = sizes * np.array(weights)[:, None]
    return np.asarray((len(weights) + 1) * 2.0**-24 * terms.sum(axis=0) + 2.0**-149 * (1 + sizes).sum(axis=0))


def exact(updates: np.ndarray, weights: list[float]) -> np.ndarray:
    return np.asarray((updates.astype(np.float64) * np.array(weights)[:, None]).sum(axis=0))


@pytest.mark.parametrize("values", [1, 1000, (1 << 16) + 1, BLOCK_VALUES + 17])
@pytest.mark.parametrize("sites", [1, 3])
def test_it_is_the_sum_to_its_stated_error(values: int, sites: int) -> None:
    updates, weights = drawn(1, sites, values), normalised([1.0, 70.0, 3e5][:sites])
    assert (np.abs(summed(updates, weights) - exact(updates, weights)) <= bound(updates, weights)).all()


@pytest.mark.slow
def test_large_vectors_are_summed_by_torch_to_the_same_error() -> None:
    part, weights = drawn(2, sites=3, values=1 << 10), normalised([3.0, 7.0, 1e6])
    updates = np.tile(part, LARGE // part.shape[1])[:, : LARGE + 5]
    found = summed(np.concatenate([updates, part[:, :5]], axis=1), weights)
    expected = exact(part, weights)
    for repeat in (0, 17, LARGE // part.shape[1] - 1):
        window = found[repeat * part.shape[1] :][: part.shape[1]]
        assert (np.abs(window - expected) <= bound(part, weights)).all()
        np.testing.assert_array_equal(window, found[: part.shape[1]])
    np.testing.assert_array_equal(found[LARGE:], found[:5])


def test_a_small_vector_is_summed_without_torch() -> None:
    code = (
        "import sys, numpy as np; from cloister.aggregation import Contribution, rule_of;"
        "from cloister.jobs.aggregation import Aggregation; from cloister.vectors import ArraySource;"
        "given = [Contribution(str(n), n + 1, ArraySource(np.ones(3_000_000, np.float32))) for n in range(3)];"
        "print(sum(block.sum() for block in rule_of(Aggregation()).combine(given)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    total, torch_is_there = done.stdout.split()
    assert float(total) == pytest.approx(3e6, rel=1e-6)
    assert torch_is_there == "False"


@settings(deadline=None, max_examples=60)
@given(
    updates=st.lists(st.lists(st.floats(-LARGEST, LARGEST, width=32), min_size=4, max_size=4), min_size=1, max_size=6),
    weights=st.lists(st.floats(1e-200, 1e200), min_size=6, max_size=6),
)
def test_the_stated_error_holds_for_any_finite_values(updates: list[list[float]], weights: list[float]) -> None:
    rows, shares = np.array(updates, np.float32), normalised(weights[: len(updates)])
    found, expected = summed(rows, shares), exact(rows, shares)
    assert np.isfinite(found).all()
    assert (np.abs(found - expected) <= bound(rows, shares)).all()


def test_updates_sent_as_bfloat16_are_summed_as_exactly_as_others() -> None:
    sent = drawn(3, sites=16, values=10_000).astype(ml_dtypes.bfloat16)
    decoded, weights = sent.astype(np.float32), normalised([50_000.0 + site for site in range(16)])
    error = summed(decoded, weights) - exact(decoded, weights)
    assert np.sqrt(np.mean(error**2)) < 2e-7 * np.sqrt(np.mean(exact(decoded, weights) ** 2))
