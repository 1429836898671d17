# SPDX-License-Identifier: Apache-2.0
"""Two frames one after the other, before them the length of the first.

They are apart because what is frequent in the one is not so in the other.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from cloister.errors import EgressError
from cloister.wire import frame

Bytes = npt.NDArray[np.uint8]

_LENGTH = struct.Struct("<I")


def write(first: Bytes, second: Bytes) -> bytes:
    """The piece that holds both."""
    frames = frame.compress(first.data), frame.compress(second.data)
    return b"".join((_LENGTH.pack(len(frames[0])), *frames))


def read(piece: bytes | memoryview, first: int, second: int) -> tuple[Bytes, Bytes]:
    """What is in both, which are to have so many bytes; neither can be written into.

    Raises:
        EgressError: where ``piece`` does not hold exactly those.
    """
    view = memoryview(piece)
    if len(view) < _LENGTH.size:
        raise EgressError("a piece of the update is not as long as its tensors")
    end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    contents = frame.decompress(view[_LENGTH.size : end], first), frame.decompress(view[end:], second)
    return np.frombuffer(contents[0], np.uint8), np.frombuffer(contents[1], np.uint8)


def largest(first: int, second: int) -> int:
    """The most bytes that `write` makes of contents of so many bytes."""
    return _LENGTH.size + frame.largest(first) + frame.largest(second)
