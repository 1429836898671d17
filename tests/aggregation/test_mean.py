# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.aggregation.mean import Mean, normalised
from tests.aggregation.contributions import combined, contributions, drawn


def test_it_is_numpys_weighted_average() -> None:
    updates, weights = drawn(1, sites=5, values=1000), [1, 17, 250, 3, 90_000]
    expected = np.average(updates.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(combined(Mean(), contributions(updates, weights)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("factor", [1e-18, 1 / 3, 50_000, 80_000, 1e18, 1e300])
def test_only_the_ratio_of_weights_counts(factor: float) -> None:
    updates, weights = drawn(2, sites=4, values=1000), [1, 2, 3, 4]
    plain = combined(Mean(), contributions(updates, weights))
    scaled = combined(Mean(), contributions(updates, [weight * factor for weight in weights]))
    np.testing.assert_allclose(scaled, plain, rtol=0, atol=1e-6)


def test_a_site_with_nearly_all_records_is_nearly_the_mean() -> None:
    updates = drawn(3, sites=3, values=1000)
    np.testing.assert_array_equal(combined(Mean(), contributions(updates, [1, 1e18, 1])), updates[1])


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=300))
def test_shares_are_one_together(weights: list[float]) -> None:
    shares = normalised(weights)
    assert math.fsum(shares) == pytest.approx(1, rel=1e-13)
    assert all(0 <= share <= 1 for share in shares)


def test_equal_weights_are_equal_shares() -> None:
    assert normalised([1e18] * 8) == [0.125] * 8
    assert normalised([3, 1]) == [0.75, 0.25]
