# SPDX-License-Identifier: Apache-2.0
"""The mean of each value without its extremes (https://arxiv.org/abs/1803.01498, definition 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.rule import Rule
from cloister.aggregation.sorted_values import Rows, by_rank
from cloister.vectors import Vector


class TrimmedMean(Rule):
    """Every site alike.

    Args:
        bad_sites: so many of the largest and of the smallest are left out of each value.
    """

    name = "trimmed_mean"

    def __init__(self, bad_sites: int) -> None:
        self.bad_sites = bad_sites

    def needed(self, bad_sites: int) -> int | None:
        """More than twice as many as are bad: what is left of each value lies between values of good sites."""
        return 2 * bad_sites + 1

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The trimmed mean, summed in float64; one pass over the updates."""
        return by_rank(contributions, self._mean)

    def _mean(self, rows: Rows) -> npt.NDArray[np.float64]:
        kept = rows[self.bad_sites : len(rows) - self.bad_sites]
        total = kept[0].astype(np.float64)
        for row in kept[1:]:
            total += row
        return total / len(kept)
