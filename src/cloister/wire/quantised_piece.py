# SPDX-License-Identifier: Apache-2.0
"""A block's steps as one frame, its codes as another.

Steps are given as all upper bytes, then all lower ones: the upper ones hold sign and most of the exponent, which hardly
differ between groups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.wire import two_frames
from cloister.wire.quantisation import groups_of

Bytes = npt.NDArray[np.uint8]
_Halves = npt.NDArray[np.uint16]


def write(steps: _Halves, codes: Bytes) -> bytes:
    """The piece of ``steps``, bfloat16 as 16 bits, and of ``codes`` in the form in which they travel."""
    return two_frames.write(np.concatenate(((steps >> 8).astype(np.uint8), steps.astype(np.uint8))), codes)


def read(piece: bytes | memoryview, count: int, code_bytes: int) -> tuple[_Halves, Bytes]:
    """The steps of ``count`` values, and the ``code_bytes`` bytes of their codes.

    Raises:
        EgressError: where ``piece`` does not hold exactly those.
    """
    groups = groups_of(count)
    planes, codes = two_frames.read(piece, 2 * groups, code_bytes)
    return planes[:groups].astype(np.uint16) << np.uint16(8) | planes[groups:], codes


def largest(count: int, code_bytes: int) -> int:
    """The most bytes that `write` makes of them."""
    return two_frames.largest(2 * groups_of(count), code_bytes)
