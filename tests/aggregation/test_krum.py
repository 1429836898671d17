# SPDX-License-Identifier: Apache-2.0
"""Krum and Multi-Krum against the paper's definition, written out."""

from __future__ import annotations

import numpy as np
import pytest

from cloister.aggregation.krum import Krum
from cloister.aggregation.multi_krum import MultiKrum
from cloister.vectors import BLOCK_VALUES
from tests.aggregation.contributions import combined, contributions, drawn

CASES = [(5, 1), (7, 2), (10, 2), (10, 3), (21, 9)]


def score(updates: np.ndarray, site: int, bad_sites: int) -> float:
    """Section 4 of the paper: over the n - f - 2 vectors closest to this one, the sum of squared distances."""
    distances = sorted(
        sum((float(a) - float(b)) ** 2 for a, b in zip(updates[site], updates[other], strict=True))
        for other in range(len(updates))
        if other != site
    )
    return sum(distances[: len(updates) - bad_sites - 2])


def ranked(updates: np.ndarray, bad_sites: int) -> list[int]:
    return sorted(range(len(updates)), key=lambda site: score(updates, site, bad_sites))


@pytest.mark.parametrize(("sites", "bad_sites"), CASES)
def test_krum_is_the_update_with_the_smallest_score(sites: int, bad_sites: int) -> None:
    for seed in range(5):
        updates = drawn(seed, sites, values=20)
        updates[:bad_sites] *= 30
        expected = updates[ranked(updates, bad_sites)[0]]
        np.testing.assert_array_equal(combined(Krum(bad_sites), contributions(updates)), expected)


@pytest.mark.parametrize(("sites", "bad_sites"), CASES)
def test_multi_krum_is_the_plain_mean_of_the_best(sites: int, bad_sites: int) -> None:
    for seed in range(5):
        updates = drawn(seed, sites, values=20)
        updates[:bad_sites] *= 30
        best = ranked(updates, bad_sites)[: sites - bad_sites - 2]
        found = combined(MultiKrum(bad_sites), contributions(updates, [10.0**site for site in range(sites)]))
        np.testing.assert_allclose(found, updates[best].mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)


def test_of_updates_that_are_alike_the_first_site_by_name_is_chosen() -> None:
    updates = np.zeros((5, 3), np.float32)
    updates[:, 0] = [0, 0, 0, 1, 1]
    given = contributions(updates)
    np.testing.assert_array_equal(combined(Krum(1), given[::-1]), updates[0])


def test_the_whole_of_the_chosen_update_is_given_block_by_block() -> None:
    updates = drawn(1, sites=5, values=BLOCK_VALUES + 3)
    found = combined(Krum(1), contributions(updates))
    assert any(np.array_equal(found, update) for update in updates)
