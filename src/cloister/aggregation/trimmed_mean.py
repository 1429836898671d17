# SPDX-License-Identifier: Apache-2.0
"""The mean of each value without its extremes (https://arxiv.org/abs/1803.01498, definition 2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.aggregation.sorted_values import Rows
from cloister.aggregation.value_rule import ValueRule


class TrimmedMean(ValueRule):
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

    def pick(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The mean of those in the middle, summed in float64."""
        kept = rows[self.bad_sites : len(rows) - self.bad_sites]
        total = kept[0].astype(np.float64)
        for row in kept[1:]:
            total += row
        return total / len(kept)
