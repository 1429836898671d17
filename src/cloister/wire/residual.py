# SPDX-License-Identifier: Apache-2.0
"""What rounding took from a sender's tensors and the receiver has not been told yet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cloister.vectors import BLOCK_VALUES, Vector
from cloister.wire.schema import Schema


class Residual:
    """One float32 for each value that was ever sent, by tensor: rounds may send different ones.

    Several threads may add and keep, each of its own blocks, once there is room.
    """

    def __init__(self) -> None:
        self._tensors: dict[tuple[str, int], Vector] = {}  # by name and size

    def make_room(self, schema: Schema) -> None:
        """Have a place for what will be left over of the tensors of ``schema``; 0 where nothing is yet."""
        for name, place in schema.places.items():
            size = place.stop - place.start
            if (name, size) not in self._tensors:
                self._tensors[name, size] = np.zeros(size, np.float32)

    def add_to(self, block: Vector, schema: Schema, number: int) -> None:
        """Add what is left over of block ``number``'s values to ``block``."""
        for tensor, here, there in _overlaps(schema, number):
            if (kept := self._tensors.get(tensor)) is not None:
                block[here] += kept[there]

    def keep(self, schema: Schema, number: int, left: Vector) -> None:
        """Remember ``left`` of block ``number``'s values, for which there is room."""
        for tensor, here, there in _overlaps(schema, number):
            self._tensors[tensor][there] = left[here]


def _overlaps(schema: Schema, number: int) -> Iterator[tuple[tuple[str, int], slice, slice]]:
    """The tensors with values in block ``number``: name and size, place in the block, place in it."""
    first = number * BLOCK_VALUES
    end = first + BLOCK_VALUES
    for name, place in schema.places.items():
        start, stop = max(place.start, first), min(place.stop, end)
        if start < stop:
            there = slice(start - place.start, stop - place.start)
            yield (name, place.stop - place.start), slice(start - first, stop - first), there
