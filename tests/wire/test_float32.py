# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import CODECS
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian

CODEC = CODECS["float32"]


def test_values_are_little_endian_as_they_were() -> None:
    block = np.concatenate((gaussian(1000), np.array([-0.0, 2.0**-149], np.float32)))
    piece = CODEC.encode(block, generator(1, 0))
    assert piece == block.astype("<f4").tobytes()
    np.testing.assert_array_equal(CODEC.decode(piece, block.size).view(np.uint32), block.view(np.uint32))
    assert CODEC.lossless
