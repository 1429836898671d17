# SPDX-License-Identifier: Apache-2.0
"""Numbers of two bytes as a frame of all upper bytes, and one of all lower ones.

The upper bytes hold sign and exponent, which differ little within an update and pack well; the lower ones are mostly as
good as random, and zstd leaves them as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.wire import two_frames

_Halves = npt.NDArray[np.uint16]


def split(numbers: _Halves) -> bytes:
    """The piece of ``numbers``."""
    return two_frames.write((numbers >> 8).astype(np.uint8), numbers.astype(np.uint8))


def merge(piece: bytes | memoryview, count: int) -> _Halves:
    """The ``count`` numbers in ``piece``.

    Raises:
        EgressError: where it does not hold so many.
    """
    upper, lower = two_frames.read(piece, count, count)
    numbers = upper.astype(np.uint16)
    numbers <<= 8
    numbers |= lower
    return numbers


def largest(count: int) -> int:
    """The most bytes that `split` makes of ``count`` numbers."""
    return two_frames.largest(count, count)
