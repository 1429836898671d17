# SPDX-License-Identifier: Apache-2.0
"""The mean of the updates that lie closest to their neighbours (https://arxiv.org/abs/1703.02757, section 5)."""

from __future__ import annotations

import numpy as np

from cloister.aggregation.distances import Matrix, squared_distances
from cloister.aggregation.krum import Krum, scores
from cloister.aggregation.share_rule import Shares


class MultiKrum(Krum):
    """The n - f - 2 updates with the best scores, every one alike; more would not be proven to be borne.

    Args:
        bad_sites: so many are borne.
    """

    name = "multi_krum"

    def shares(self, products: Matrix) -> Shares:
        """Equal ones of the chosen."""
        chosen = len(products) - self.bad_sites - 2
        best = np.argsort(scores(squared_distances(products), self.bad_sites), kind="stable")[:chosen]
        shares = np.zeros(len(products))
        shares[best] = 1 / chosen
        return shares
