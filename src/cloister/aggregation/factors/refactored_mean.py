# SPDX-License-Identifier: Apache-2.0
"""Refactoring as a rule among the others: it takes and gives vectors, and a bound on norms may stand before it.

What it gives is the difference between the next round's tensors and this round's, so that a server optimiser that adds
it as it is comes to the refactored ones. Factors are small; it holds those of all sites in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.factors.pairs import Trained
from cloister.aggregation.factors.refactored import for_site, lifted, refactored
from cloister.aggregation.rule import Rule
from cloister.jobs.adapter import AdapterLayout, Arrays
from cloister.vectors import BLOCK_VALUES, ArraySource, Source, Vector, blocks_of


class RefactoredMean(Rule):
    """The mean of the sites' products, taken apart again; of other tensors the mean.

    Args:
        layout: the tensors of an update, all that the job exchanges.
        current: their values in the round that ends.

    Attributes:
        cut_off: after the last block, by layer the share of the sum that the factors have no room for.
    """

    name = "mean"

    def __init__(self, layout: AdapterLayout, current: Arrays) -> None:
        self._layout, self._current = layout, current
        self.cut_off: dict[str, float] = {}

    def needed(self, bad_sites: int) -> int | None:
        """1, as long as no site is bad."""
        return None if bad_sites else 1

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The difference, block by block.

        Raises:
            ValueError: where the factors no longer fit float32.
        """
        combined = refactored(
            self._current,
            [
                Trained(each.site, each.weight, _added(self._current, arrays_of(self._layout, each.update)))
                for each in contributions
            ],
        )
        self.cut_off = combined.cut_off
        whole = _difference(self._layout, combined.arrays, self._current)
        return (whole.block(number) for number in range(blocks_of(whole.size)))


def lifted_update(layout: AdapterLayout, current: Arrays, rank: int, update: Source) -> Source:
    """The update of a site of a lower ``rank`` as one of the job's rank, see `lifted`.

    Args:
        layout: the tensors of an update of the job's rank.
        current: their values in the round that ends.
        rank: the site's.
        update: what it sent, a vector of ``layout.at_rank(rank)``.
    """
    own = _added(for_site(current, rank), arrays_of(layout.at_rank(rank), update))
    return _difference(layout, lifted(current, own), current)


def arrays_of(layout: AdapterLayout, source: Source) -> Arrays:
    """The tensors of ``layout`` in the vector ``source``.

    Raises:
        ValueError: where the vector has another number of values.
    """
    if source.size != layout.size:
        raise ValueError(f"a vector of {source.size} values is none of {layout.size}")
    values = np.empty(layout.size, np.float32)
    for number in range(blocks_of(source.size)):
        values[number * BLOCK_VALUES : (number + 1) * BLOCK_VALUES] = source.block(number)
    arrays, start = {}, 0
    for tensor in layout.tensors:
        arrays[tensor.name] = values[start : start + tensor.size].reshape(tensor.shape)
        start += tensor.size
    return arrays


def vector_of(layout: AdapterLayout, arrays: Arrays) -> Vector:
    """``arrays`` as the vector of ``layout``."""
    return np.concatenate([np.empty(0, np.float32), *(arrays[tensor.name].ravel() for tensor in layout.tensors)])


def _added(one: Arrays, other: Arrays) -> Arrays:
    return {name: array + other[name] for name, array in one.items()}


def _difference(layout: AdapterLayout, new: Arrays, old: Arrays) -> Source:
    return ArraySource(vector_of(layout, {name: array - old[name] for name, array in new.items()}))
