# SPDX-License-Identifier: Apache-2.0
"""Numbers of two bytes as all lower bytes, then a frame of all upper ones.

The upper bytes hold sign and exponent, which differ little within an update and pack well; the lower ones are as good
as random and are left as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.errors import EgressError
from cloister.wire import frame

_Halves = npt.NDArray[np.uint16]


def split(numbers: _Halves) -> bytes:
    """The piece of ``numbers``."""
    return numbers.astype(np.uint8).tobytes() + frame.compress((numbers >> 8).astype(np.uint8).data)


def merge(piece: bytes | memoryview, count: int) -> _Halves:
    """The ``count`` numbers in ``piece``.

    Raises:
        EgressError: where it does not hold so many.
    """
    view = memoryview(piece)
    if len(view) < count:
        raise EgressError("a piece of the update is not as long as its tensors")
    upper = np.frombuffer(frame.decompress(view[count:], count), np.uint8).astype(np.uint16)
    upper <<= 8
    upper |= np.frombuffer(view[:count], np.uint8)
    return upper


def largest(count: int) -> int:
    """The most bytes that `split` makes of ``count`` numbers."""
    return count + frame.largest(count)
