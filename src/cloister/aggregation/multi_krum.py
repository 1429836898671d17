# SPDX-License-Identifier: Apache-2.0
"""The mean of the updates that lie closest to their neighbours (https://arxiv.org/abs/1703.02757, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.distances import inner_products, squared_distances
from cloister.aggregation.kernel import weighted_sum
from cloister.aggregation.krum import Krum, scores
from cloister.vectors import Vector


class MultiKrum(Krum):
    """The n - f - 2 updates with the best scores, every one alike; more would not be proven to be borne.

    Args:
        bad_sites: so many are borne.
    """

    name = "multi_krum"

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The mean of the chosen; one pass over the updates, and one over the chosen."""
        squares = squared_distances(inner_products(contributions))
        best = np.argsort(scores(squares, self.bad_sites), kind="stable")[: len(contributions) - self.bad_sites - 2]
        chosen = [contributions[number] for number in sorted(best)]
        return weighted_sum(chosen, [1 / len(chosen)] * len(chosen))
