# SPDX-License-Identifier: Apache-2.0
"""The point with the smallest sum of distances to the updates (RFA, https://arxiv.org/abs/1912.13445).

Weiszfeld's algorithm (algorithm 3 there) moves between weighted means of the updates. Where such a mean lies, and how
far each update is from it, follows from the updates' inner products, so that the search takes place on numbers alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.aggregation.distances import Matrix, squared_distances
from cloister.aggregation.share_rule import ShareRule, Shares

_MOST_STEPS = 10_000
_SETTLED = 1e-10
_SMALLEST_SHARE = 1e-8  # of the typical distance; distances below are not known, see `distances`


class GeometricMedian(ShareRule):
    """Every site alike: a bad one cannot buy itself weight by claiming records."""

    name = "geometric_median"

    def needed(self, bad_sites: int) -> int | None:
        """More than twice as many as are bad (Lopuhaä and Rousseeuw, Annals of Statistics 1991, theorem 2.2)."""
        return 2 * bad_sites + 1

    def shares(self, products: Matrix) -> Shares:
        """Those of the geometric median."""
        return median_shares(products)


def median_shares(products: Matrix) -> Shares:
    """Shares of the updates, together 1, whose mean is the geometric median.

    Args:
        products: inner products of all pairs of updates.
    """
    typical = np.median(np.sqrt(squared_distances(products)), axis=1)  # of a good update, as long as most are good
    smallest = _SMALLEST_SHARE * float(np.median(typical))
    if smallest == 0.0:  # more than half of the updates are one and the same, which is the median then
        return np.asarray(np.eye(len(products))[int(np.argmin(typical))], np.float64)
    # An update that is far away from most has next to no share of the first mean, and none is that mean itself, which
    # the algorithm would hardly leave.
    shares = _inverse_shares(typical, smallest)
    for _ in range(_MOST_STEPS):
        following = _inverse_shares(_distances(products, shares), smallest)
        if np.abs(following - shares).max() < _SETTLED:
            return following
        shares = following
    return shares


def _inverse_shares(distances: npt.NDArray[np.float64], smallest: float) -> Shares:
    """Shares in inverse proportion to ``distances``, none of which counts as below ``smallest``."""
    inverse = smallest / np.maximum(distances, smallest)
    return np.asarray(inverse / inverse.sum(), np.float64)


def _distances(products: Matrix, shares: Shares) -> npt.NDArray[np.float64]:
    """How far each update u_j lies from the mean with these ``shares``, z: |z - u_j|² = |z|² - 2 z·u_j + |u_j|².

    The inner products themselves, for in their distances those of an update that is very far away drown the others'.
    """
    along = products @ shares
    squares = np.maximum(shares @ along - 2 * along + np.diag(products), 0.0)
    return np.asarray(np.sqrt(squares), np.float64)
