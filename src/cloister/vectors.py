# SPDX-License-Identifier: Apache-2.0
"""An update as one flat vector that is read block by block, so that it need not be in memory as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

BLOCK_VALUES = 1 << 20
"""Values in one block of a vector; its last block may have fewer."""

Vector = npt.NDArray[np.float32]
"""One dimension: the tensors of an update in the sorted order of their names, each in C order."""


class Source(Protocol):
    """The values of one update, checked when it came: of the agreed layout, all finite."""

    @property
    def size(self) -> int:
        """Number of values."""

    def block(self, number: int) -> Vector:
        """Block ``number``, from 0, float32; the same values each time, and a caller may write into them."""


@dataclass(frozen=True)
class ArraySource:
    """An update that is in memory.

    Attributes:
        values: all of them.
    """

    values: Vector

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.values.size)

    def block(self, number: int) -> Vector:
        """A copy of block ``number``."""
        return self.values[number * BLOCK_VALUES : (number + 1) * BLOCK_VALUES].copy()


@dataclass(frozen=True)
class Difference:
    """What ``after`` has more than ``before``, value by value.

    Attributes:
        after: of as many values as the other.
        before: what is taken away.
    """

    after: Source
    before: Source

    @property
    def size(self) -> int:
        """Number of values."""
        return self.after.size

    def block(self, number: int) -> Vector:
        """Block ``number``; of very large values the difference may be infinite."""
        after = self.after.block(number)
        with np.errstate(over="ignore"):  # whoever takes it looks at it
            after -= self.before.block(number)
        return after


def blocks_of(size: int) -> int:
    """How many blocks ``size`` values make; 0 for none."""
    return -(-size // BLOCK_VALUES)


def values_in(number: int, size: int) -> int:
    """How many of ``size`` values are in block ``number``, from 0."""
    return max(0, min(BLOCK_VALUES, size - number * BLOCK_VALUES))
