# SPDX-License-Identifier: Apache-2.0
"""Rules that make a mean of the updates, with shares that follow from how the updates lie to each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.distances import Matrix, inner_products
from cloister.aggregation.kernel import weighted_sum
from cloister.aggregation.rule import Rule
from cloister.vectors import Vector

Shares = npt.NDArray[np.float64]


class ShareRule(Rule):
    """Every site alike; what an update says is read only to be measured and to be summed."""

    @abstractmethod
    def shares(self, products: Matrix) -> Shares:
        """The share of each update, at least 0, together 1.

        Args:
            products: inner products of all pairs of updates, of shape (updates, updates).
        """

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The mean; one pass over the updates, and one over those that have a share."""
        return weighted_sum(contributions, list(self.shares(inner_products(contributions))))
