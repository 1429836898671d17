# SPDX-License-Identifier: Apache-2.0
"""How a network is given columns: what follows from their description over all sites, and hence is the same at each.

1. A number is standardised: less the mean, over the standard deviation. A missing one is 0, which is the mean; where
   the description counts missing cells, an indicator beside it says so.
2. A number of which nothing is told, or that is the same everywhere, is not scaled; of the former every cell counts as
   missing, since nobody knows its scale.
3. A category or truth value has a slot for each value that is told to occur, in the order of their names, one for all
   other values, and one for a missing cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.errors import JobError
from cloister.jobs.statistics import FeatureStatistics, NumberSummary

TRUE, FALSE = "true", "false"
"""How a truth value is called where values have names."""


@dataclass(frozen=True)
class NumberInput:
    """A column of numbers.

    Attributes:
        column: its name.
        mean: subtracted from each cell.
        scale: what that is divided by, above 0.
        indicator: whether the network is told of missing cells.
        known: whether anything is told of it; where not, every cell counts as missing.
    """

    column: str
    mean: float
    scale: float
    indicator: bool
    known: bool = True


@dataclass(frozen=True)
class CategoryInput:
    """A column of categories or truth values.

    Attributes:
        column: its name.
        values: those with a slot of their own; the next slot is of all others, the last of missing cells.
    """

    column: str
    values: tuple[str, ...]

    @property
    def other(self) -> int:
        """The slot of every value that has none of its own."""
        return len(self.values)

    @property
    def missing(self) -> int:
        """The slot of cells without a value."""
        return len(self.values) + 1

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self.values) + 2


@dataclass(frozen=True)
class TabularInputs:
    """Everything that a network is given of a record.

    Attributes:
        numbers: in the order of the job's features.
        categories: in the same order.
    """

    numbers: tuple[NumberInput, ...]
    categories: tuple[CategoryInput, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all, numbers first."""
        return (*(number.column for number in self.numbers), *(category.column for category in self.categories))

    @property
    def indicators(self) -> tuple[int, ...]:
        """Positions in `numbers` of those with an indicator."""
        return tuple(index for index, number in enumerate(self.numbers) if number.indicator)

    @property
    def slots(self) -> int:
        """Slots of all categories together."""
        return sum(category.slots for category in self.categories)

    @property
    def width(self) -> int:
        """Values in a row, where each slot is one of them."""
        return len(self.numbers) + len(self.indicators) + self.slots


def inputs_of(features: Sequence[str], statistics: FeatureStatistics) -> TabularInputs:
    """How a network is given the columns ``features``.

    Args:
        features: as the job's `dataset` names them.
        statistics: over all sites; it may describe more columns.

    Raises:
        JobError: where one of ``features`` is not described.
    """
    numbers: list[NumberInput] = []
    categories: list[CategoryInput] = []
    for column in features:
        summary = statistics.features.get(column)
        if summary is None:
            raise JobError(f"the feature `{column}` was not described by the sites")
        if isinstance(summary, NumberSummary):
            mean, scale = scaling_of(summary)
            numbers.append(NumberInput(column, mean, scale, summary.missing > 0, summary.present > 0))
        else:
            values = sorted(value for value, count in summary.counts.items() if count)
            categories.append(CategoryInput(column, tuple(values)))
    return TabularInputs(tuple(numbers), tuple(categories))


def scaling_of(summary: NumberSummary) -> tuple[float, float]:
    """Mean and standard deviation to standardise by; 0 and 1 where nothing is told, and 1 where nothing varies."""
    if not summary.present:
        return 0.0, 1.0
    deviation = math.sqrt(summary.variance)
    # The rounding error of a mean is no deviation to magnify.
    return summary.mean, deviation if deviation > 1e-9 * abs(summary.mean) else 1.0
