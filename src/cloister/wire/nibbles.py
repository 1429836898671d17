# SPDX-License-Identifier: Apache-2.0
"""Two numbers below 16 in one byte, the first in its lower half."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def pack(codes: Bytes) -> Bytes:
    """``codes``, an even number of them, each below 16, as half as many bytes."""
    pairs = codes.view("<u2")
    packed: Bytes = (pairs | pairs >> 4).astype(np.uint8)
    return packed


def unpack(packed: Bytes) -> Bytes:
    """The codes in ``packed``, two for each byte."""
    pairs = packed.astype("<u2")
    pairs |= pairs << 4
    pairs &= 0x0F0F
    return pairs.view(np.uint8)
