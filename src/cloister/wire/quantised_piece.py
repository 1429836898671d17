# SPDX-License-Identifier: Apache-2.0
"""A block's steps and codes: length of the first frame, the steps as one frame, the codes as another.

Steps are given as all upper bytes, then all lower ones: the upper ones hold sign and most of the exponent, which hardly
differ between groups. They have a frame of their own because what is frequent among them is not so among codes.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from cloister.errors import EgressError
from cloister.wire import frame
from cloister.wire.quantisation import groups_of

Bytes = npt.NDArray[np.uint8]
_Halves = npt.NDArray[np.uint16]

_LENGTH = struct.Struct("<I")


def write(steps: _Halves, codes: Bytes) -> bytes:
    """The piece of ``steps``, bfloat16 as 16 bits, and of ``codes`` in the form in which they travel."""
    planes = np.concatenate(((steps >> 8).astype(np.uint8), steps.astype(np.uint8)))
    first = frame.compress(planes.data)
    return _LENGTH.pack(len(first)) + first + frame.compress(codes.data)


def read(piece: bytes | memoryview, count: int, code_bytes: int) -> tuple[_Halves, Bytes]:
    """The steps of ``count`` values, and the ``code_bytes`` bytes of their codes.

    Raises:
        EgressError: where ``piece`` does not hold exactly those.
    """
    view, groups = memoryview(piece), groups_of(count)
    if len(view) < _LENGTH.size:
        raise EgressError("a piece of the update is not as long as its tensors")
    end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    planes = np.frombuffer(frame.decompress(view[_LENGTH.size : end], 2 * groups), np.uint8)
    codes = np.frombuffer(frame.decompress(view[end:], code_bytes), np.uint8)
    return planes[:groups].astype(np.uint16) << np.uint16(8) | planes[groups:], codes


def largest(count: int, code_bytes: int) -> int:
    """The most bytes that `write` makes of them."""
    return _LENGTH.size + frame.largest(2 * groups_of(count)) + frame.largest(code_bytes)
