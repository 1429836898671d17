# SPDX-License-Identifier: Apache-2.0
"""The median of each value (https://arxiv.org/abs/1803.01498, definition 1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.aggregation.sorted_values import Rows
from cloister.aggregation.value_rule import ValueRule


class Median(ValueRule):
    """Every site alike: a bad one cannot buy itself weight by claiming records."""

    name = "median"

    def needed(self, bad_sites: int) -> int | None:
        """More than twice as many as are bad: then each median lies between values of good sites."""
        return 2 * bad_sites + 1

    def pick(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The median, of an even number the middle between the middle two."""
        low, high = rows[(len(rows) - 1) // 2], rows[len(rows) // 2]
        return (low.astype(np.float64) + high) / 2
