# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest

from cloister.aggregation.sorted_values import Rows, by_rank, exchanges
from tests.aggregation.contributions import contributions, drawn


@pytest.mark.parametrize("rows", range(1, 14))
def test_the_network_sorts_every_sequence_of_zeros_and_ones_and_so_every_sequence(rows: int) -> None:
    """The zero-one principle (Knuth, The Art of Computer Programming 3, section 5.3.4, theorem Z)."""
    values = np.array(list(itertools.product([0, 1], repeat=rows)))
    for low, high in exchanges(rows):
        assert 0 <= low < high < rows
        values[:, low], values[:, high] = values[:, [low, high]].min(axis=1), values[:, [low, high]].max(axis=1)
    assert (np.diff(values, axis=1) >= 0).all()


@pytest.mark.parametrize("sites", [1, 2, 16, 17, 100, 200])
def test_rows_come_as_numpy_sorts_them(sites: int) -> None:
    updates = drawn(sites, sites, values=(1 << 14) + 3)
    updates[:, 5] = 0.25  # ties
    seen: list[np.ndarray] = []

    def pick(rows: Rows) -> np.ndarray:
        seen.append(np.stack(rows))
        return rows[0].astype(np.float64)

    assert len(list(by_rank(contributions(updates), pick))) == 1
    np.testing.assert_array_equal(np.concatenate(seen, axis=1), np.sort(updates, axis=0))
