# SPDX-License-Identifier: Apache-2.0
"""Weighted sums of updates in float32, block by block, on every core.

A block is read and added while it is in a core's cache, one site after the other, so that memory holds two blocks for
each core, however many sites there are. Vectors of 8 million values and more are added by torch, which multiplies and
adds in one go and needs two thirds of the time that numpy needs (`benchmarks/aggregate.py`); below that its import
costs more than it saves. The size of the vector alone chooses, so the same job always takes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cloister.aggregation.contribution import Contribution
from cloister.in_order import in_order
from cloister.vectors import BLOCK_VALUES, Vector, blocks_of, values_in

LARGE = 8 * BLOCK_VALUES
"""Vectors of so many values and more are added by torch."""

_PIECE_VALUES = 1 << 16  # of float32: the sum so far and one product fit into a core's second cache
_LARGEST = np.finfo(np.float32).max

_Add = Callable[[Vector, Vector, float], None]


def weighted_sum(contributions: Sequence[Contribution], weights: Sequence[float]) -> Iterator[Vector]:
    """Block by block the sum of each update times its weight, in the order given.

    Each value is within n × 2^-24 of the sum of weight × |value| of the exact sum, for n updates (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1). Weights are float32 too: below 1e-38 they get coarse, below 1e-45
    they are 0. What would round to infinity is the largest float32 there is.

    Args:
        contributions: whose updates; all of one size, their values finite.
        weights: one for each, at least 0; together 1, so that no sum can grow beyond its terms. What has none is not
            read.
    """
    size = contributions[0].update.size
    terms = [(each.update, weight) for each, weight in zip(contributions, weights, strict=True) if weight > 0]

    def sums(add: _Add) -> Callable[[int], Vector]:
        def block(number: int) -> Vector:
            total = np.zeros(values_in(number, size), np.float32)
            for update, weight in terms:
                add(total, update.block(number), weight)
            return np.clip(total, -_LARGEST, _LARGEST, out=total)

        return block

    if size < LARGE:
        return in_order(sums(_add_by_numpy), blocks_of(size))
    return _by_torch(sums, blocks_of(size))


def _add_by_numpy(total: Vector, block: Vector, weight: float) -> None:
    factor, product = np.float32(weight), np.empty(min(_PIECE_VALUES, total.size), np.float32)
    for start in range(0, total.size, _PIECE_VALUES):
        part = total[start : start + _PIECE_VALUES]
        part += np.multiply(block[start : start + _PIECE_VALUES], factor, out=product[: part.size])


def _by_torch(sums: Callable[[_Add], Callable[[int], Vector]], blocks: int) -> Iterator[Vector]:
    import torch  # noqa: PLC0415 - a second and 190 MB, which small jobs are spared

    def add(total: Vector, block: Vector, weight: float) -> None:
        torch.from_numpy(total).add_(torch.from_numpy(block), alpha=float(np.float32(weight)))

    threads = torch.get_num_threads()
    try:
        # Each of our threads is one of torch's own kind as well, which would start further ones.
        yield from in_order(sums(add), blocks, lambda: torch.set_num_threads(1))
    finally:
        torch.set_num_threads(threads)  # what threads of others that torch has not met yet begin with
