# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import CODECS
from cloister.wire.rounding import generator

CODEC = CODECS["float16"]


def test_every_value_that_came_as_float16_comes_back_as_it_was() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    block = every[np.isfinite(every)]
    values = CODEC.decode(CODEC.encode(block, generator(1, 0)), block.size)
    np.testing.assert_array_equal(values.view(np.uint32), block.view(np.uint32))


def test_its_limit_is_the_largest_value_that_it_has() -> None:
    assert CODEC.limit == 65504
