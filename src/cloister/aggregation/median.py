# SPDX-License-Identifier: Apache-2.0
"""The median of each value (https://arxiv.org/abs/1803.01498, definition 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.rule import Rule
from cloister.aggregation.sorted_values import Rows, by_rank
from cloister.vectors import Vector


class Median(Rule):
    """Every site alike: a bad one cannot buy itself weight by claiming records."""

    name = "median"

    def needed(self, bad_sites: int) -> int | None:
        """More than twice as many as are bad: then each median lies between values of good sites."""
        return 2 * bad_sites + 1

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The median, of an even number the middle between the middle two; one pass over the updates."""
        return by_rank(contributions, _middle)


def _middle(rows: Rows) -> npt.NDArray[np.float64]:
    low, high = rows[(len(rows) - 1) // 2], rows[len(rows) // 2]
    return (low.astype(np.float64) + high) / 2
