# SPDX-License-Identifier: Apache-2.0
"""The median and the trimmed mean, against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from cloister.aggregation.median import Median
from cloister.aggregation.trimmed_mean import TrimmedMean
from tests.aggregation.contributions import combined, contributions, drawn

LARGEST = np.finfo(np.float32).max


@pytest.mark.parametrize("sites", [1, 2, 3, 8, 11, 40])
def test_the_median_is_numpys(sites: int) -> None:
    updates = drawn(sites, sites, values=20_000)
    expected = np.median(updates.astype(np.float64), axis=0).astype(np.float32)
    np.testing.assert_array_equal(combined(Median(), contributions(updates)), expected)


@pytest.mark.parametrize(("sites", "bad_sites"), [(3, 1), (10, 2), (11, 5), (40, 9)])
def test_the_trimmed_mean_is_scipys(sites: int, bad_sites: int) -> None:
    updates = drawn(sites, sites, values=20_000)
    expected = scipy.stats.trim_mean(updates.astype(np.float64), bad_sites / sites + 1e-9, axis=0)
    found = combined(TrimmedMean(bad_sites), contributions(updates))
    np.testing.assert_allclose(found, expected, rtol=2**-24, atol=1e-12)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(1)])
def test_records_buy_no_weight(rule: Median | TrimmedMean) -> None:
    updates = drawn(1, sites=5, values=100)
    plain = combined(rule, contributions(updates))
    np.testing.assert_array_equal(combined(rule, contributions(updates, [1, 1e18, 1, 5, 7])), plain)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(1)])
def test_the_largest_values_there_are_do_not_overflow(rule: Median | TrimmedMean) -> None:
    updates = np.full((4, 3), LARGEST, np.float32)
    np.testing.assert_array_equal(combined(rule, contributions(updates)), updates[0])
