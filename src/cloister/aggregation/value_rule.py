# SPDX-License-Identifier: Apache-2.0
"""Rules that look at each value by itself, at what the sites sent for it in order of size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.rule import Rule
from cloister.aggregation.sorted_values import Rows, by_rank
from cloister.vectors import Vector


class ValueRule(Rule):
    """Every site alike."""

    @abstractmethod
    def pick(self, rows: Rows) -> npt.NDArray[np.float64]:
        """One row of as many sorted ones as there are updates, see `by_rank`."""

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """What `pick` makes of each value; one pass over the updates."""
        return by_rank(contributions, self.pick)
