# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.mean import Mean
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.rule import Rule
from cloister.vectors import BLOCK_VALUES
from tests.aggregation.contributions import combined, contributions, drawn


def norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


@pytest.mark.parametrize("scale", [1e3, 1e30, 3e38])
def test_an_update_above_the_bound_is_scaled_down_to_it(scale: float) -> None:
    update = (np.clip(drawn(1, sites=1, values=1000), -1, 1) * np.float32(scale)).astype(np.float64)
    found = combined(NormBounding(Mean(), 2.0), contributions(update))
    assert norm(found) == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(found / norm(found), update[0] / norm(update[0]), atol=1e-6)


@pytest.mark.parametrize("bound", [1e-2, 1e-4, 3e-5])
def test_no_length_is_so_great_that_what_is_left_of_it_is_above_the_bound(bound: float) -> None:
    """Of 100 000 values of 3e38 the factor is below 1e-42, where float32 has few numbers, and none of them is it."""
    for value in np.linspace(1e38, 3.4e38, 20, dtype=np.float32):
        found = combined(NormBounding(Mean(), bound), contributions(np.full((1, 100_000), value, np.float32)))
        assert norm(found) == pytest.approx(bound, rel=1e-6)


def test_an_update_within_the_bound_is_left_as_it_is() -> None:
    update = drawn(2, sites=1, values=1000)
    bounded = NormBounding(Mean(), norm(update[0]) * 1.001)
    np.testing.assert_array_equal(combined(bounded, contributions(update)), combined(Mean(), contributions(update)))


def test_the_norm_is_that_of_the_whole_update() -> None:
    update = np.ones((1, BLOCK_VALUES + 1), np.float32)
    found = combined(NormBounding(Mean(), 1.0), contributions(update))
    assert norm(found) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("rule", [Mean(), Krum(1), GeometricMedian()])
def test_any_rule_follows(rule: Rule) -> None:
    updates = drawn(3, sites=5, values=100)
    updates[2] *= 100
    bound = norm(updates[0])
    scaled = np.stack([update * np.float32(min(1.0, bound / norm(update))) for update in updates])
    found = combined(NormBounding(rule, bound), contributions(updates))
    np.testing.assert_allclose(found, combined(rule, contributions(scaled)), rtol=1e-4, atol=1e-6)
    assert NormBounding(rule, bound).name == rule.name


def test_one_site_moves_a_mean_no_further_than_its_share_of_the_bound() -> None:
    updates = drawn(4, sites=10, values=100)
    bound = max(norm(update) for update in updates)
    good = combined(NormBounding(Mean(), bound), contributions(updates))
    updates[7] = 3e38
    moved = combined(NormBounding(Mean(), bound), contributions(updates))
    assert norm(moved - good) <= 2 * bound / 10 * 1.0001
