# SPDX-License-Identifier: Apache-2.0
"""Many updates side by side, so many values at a time that memory stays bounded however many updates there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloister.aggregation.contribution import Contribution
from cloister.vectors import BLOCK_VALUES, Vector, values_in

PIECE_VALUES = 1 << 14
"""What is worked on at a time, so that it stays in a core's cache; a stretch is a whole number of pieces."""

MOST_VALUES = 16 * BLOCK_VALUES
"""Of all updates together, in one stretch: 64 MiB."""


def stretches(contributions: Sequence[Contribution], number: int) -> Iterator[list[Vector]]:
    """Block ``number`` of every update, stretch by stretch: the same values of each.

    Memory holds `MOST_VALUES` values and one block beyond: each list is emptied when the next is asked for. With more
    than 16 updates and a block that is full, each block is read, and decoded, once for each stretch: 200 updates of a
    million values and more are read 13 times.

    Args:
        contributions: whose updates, all of one size.
        number: of the block, from 0.
    """
    size, updates = values_in(number, contributions[0].update.size), len(contributions)
    if size * updates <= MOST_VALUES:
        rows = [each.update.block(number) for each in contributions]
        yield rows
        rows.clear()
        return
    step = max(1, MOST_VALUES // updates // PIECE_VALUES) * PIECE_VALUES
    for start in range(0, size, step):
        # A copy, for a view would keep the whole block in memory.
        rows = [each.update.block(number)[start : start + step].copy() for each in contributions]
        yield rows
        rows.clear()
