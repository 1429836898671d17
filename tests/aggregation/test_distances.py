# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.aggregation.distances import inner_products, norms, squared_distances
from cloister.vectors import BLOCK_VALUES
from tests.aggregation.contributions import contributions, drawn


@pytest.mark.parametrize("values", [1, 1000, (1 << 14) + 1, BLOCK_VALUES + 3])
def test_they_are_the_distances_of_the_written_out_formula(values: int) -> None:
    updates = drawn(1, sites=4, values=values)
    wide = updates.astype(np.float64)
    expected = ((wide[:, None, :] - wide[None, :, :]) ** 2).sum(axis=-1)
    found = squared_distances(inner_products(contributions(updates)))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(np.diag(found), 0)
    np.testing.assert_allclose(norms(contributions(updates)), np.linalg.norm(wide, axis=1), rtol=1e-12)


def test_the_largest_updates_there_are_have_a_finite_distance() -> None:
    updates = np.ones((3, 10_000), np.float32)
    updates[1], updates[2] = 3e38, -3e38
    squares = squared_distances(inner_products(contributions(updates)))
    assert squares[1, 2] == pytest.approx(10_000 * 6e38**2, rel=1e-6)
    assert squares[0, 1] == pytest.approx(10_000 * 3e38**2, rel=1e-6)
    assert norms(contributions(updates))[1] == pytest.approx(100 * 3e38, rel=1e-6)


def test_an_update_that_is_far_away_leaves_the_others_distances_as_they_are() -> None:
    updates = drawn(2, sites=5, values=1000)
    alone = squared_distances(inner_products(contributions(updates)))
    beside = squared_distances(inner_products(contributions(np.concatenate([updates, np.full((1, 1000), 3e38)]))))
    np.testing.assert_allclose(beside[:5, :5], alone, rtol=1e-12)


def test_the_distance_of_updates_that_share_nearly_everything_is_known_to_the_stated_part_of_their_norm() -> None:
    updates = np.full((2, 1000), 1e3, np.float32)
    updates[1, 0] += 1
    found = float(np.sqrt(squared_distances(inner_products(contributions(updates)))[0, 1]))
    assert found == pytest.approx(1, abs=1e-8 * 1e3 * np.sqrt(1000) * 4)
