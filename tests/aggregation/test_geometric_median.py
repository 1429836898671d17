# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from cloister.aggregation.distances import inner_products
from cloister.aggregation.geometric_median import GeometricMedian, median_shares
from tests.aggregation.contributions import combined, contributions, drawn


def away(updates: np.ndarray, point: np.ndarray) -> float:
    """The sum of distances, which is to be smallest."""
    return float(np.linalg.norm(updates.astype(np.float64) - point.astype(np.float64), axis=1).sum())


@pytest.mark.parametrize(("sites", "values"), [(2, 3), (3, 2), (5, 3), (10, 4)])
@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_scipys_optimiser_finds(sites: int, values: int, seed: int) -> None:
    updates = drawn(seed, sites, values)
    found = combined(GeometricMedian(), contributions(updates))
    best = scipy.optimize.minimize(
        lambda point: away(updates, point), updates.mean(axis=0), method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000, "maxfev": 2000},
    )  # fmt: skip
    assert away(updates, found) <= best.fun * (1 + 1e-6)
    if sites > 2:  # between two updates every point is as good
        np.testing.assert_allclose(found, best.x, atol=2e-3)


def test_on_a_line_it_is_the_median() -> None:
    direction = drawn(1, sites=1, values=50)[0]
    updates = np.outer([-7, 0.1, 0.2, 0.3, 900], direction)
    np.testing.assert_allclose(combined(GeometricMedian(), contributions(updates)), 0.2 * direction, rtol=1e-4)


def test_of_a_square_it_is_the_centre() -> None:
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], np.float32)
    np.testing.assert_allclose(combined(GeometricMedian(), contributions(corners)), [0, 0], atol=1e-6)


def test_the_update_that_more_than_half_of_the_sites_sent_is_it() -> None:
    updates = drawn(2, sites=5, values=40)
    updates[1] = updates[3] = updates[0]
    np.testing.assert_allclose(combined(GeometricMedian(), contributions(updates)), updates[0], atol=1e-6)


def test_an_update_that_is_nowhere_near_moves_it_as_little_as_one_that_is_merely_far() -> None:
    updates = drawn(3, sites=9, values=40)
    found = []
    for far in (1e4, 1e15, 1e30, 3e38):
        updates[4] = far
        found.append(combined(GeometricMedian(), contributions(updates)))
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], atol=2e-3)


def test_records_buy_no_weight() -> None:
    updates = drawn(4, sites=5, values=100)
    plain = combined(GeometricMedian(), contributions(updates))
    weighted = combined(GeometricMedian(), contributions(updates, [1, 1e18, 1, 5, 7]))
    np.testing.assert_array_equal(weighted, plain)


def test_shares_are_one_together_and_those_of_like_updates_alike() -> None:
    updates = np.eye(6, dtype=np.float32)
    shares = median_shares(inner_products(contributions(updates)))
    np.testing.assert_allclose(shares, np.full(6, 1 / 6), rtol=1e-9)
    np.testing.assert_array_equal(median_shares(np.zeros((3, 3))), [1, 0, 0])
