# SPDX-License-Identifier: Apache-2.0
"""The one update that lies closest to its neighbours (Krum, https://arxiv.org/abs/1703.02757, section 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.aggregation.distances import Matrix, squared_distances
from cloister.aggregation.share_rule import ShareRule, Shares


class Krum(ShareRule):
    """Every site alike; what the other sites learnt in the round is lost.

    Args:
        bad_sites: so many are borne.
    """

    name = "krum"

    def __init__(self, bad_sites: int) -> None:
        self.bad_sites = bad_sites

    def needed(self, bad_sites: int) -> int | None:
        """More than 2 f + 2 (proposition 4.2)."""
        return 2 * bad_sites + 3

    def shares(self, products: Matrix) -> Shares:
        """All of the one with the best score."""
        best = np.argmin(scores(squared_distances(products), self.bad_sites))
        return np.asarray(np.eye(len(products))[best], np.float64)


def scores(squares: Matrix, bad_sites: int) -> npt.NDArray[np.float64]:
    """For each update the sum of squared distances to its n - f - 2 closest others; the smaller the better.

    Args:
        squares: squared distances, of shape (n, n).
        bad_sites: f.
    """
    closest = len(squares) - bad_sites - 2
    others = np.sort(squares + np.diag(np.full(len(squares), np.inf)), axis=1)
    return np.asarray(others[:, :closest].sum(axis=1), np.float64)
