# SPDX-License-Identifier: Apache-2.0
"""The mean of the updates, weighted by their records (FedAvg, https://arxiv.org/abs/1602.05629, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.kernel import weighted_sum
from cloister.aggregation.rule import Rule
from cloister.vectors import Vector


class Mean(Rule):
    """Weighted by records; a single bad site can make of it what it wants."""

    name = "mean"

    def needed(self, bad_sites: int) -> int | None:
        """1, as long as no site is bad."""
        return None if bad_sites else 1

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The weighted mean; one pass over the updates."""
        return weighted_sum(contributions, normalised([each.weight for each in contributions]))


def normalised(weights: Sequence[float]) -> list[float]:
    """``weights`` over their sum, in float64, also where that sum would be infinite.

    Args:
        weights: finite, at least 0, one of them above it.
    """
    largest = max(weights)
    shares = [weight / largest for weight in weights]
    total = math.fsum(shares)
    return [share / total for share in shares]
