# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ml_dtypes
import numpy as np

from cloister.wire import CODECS
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian

CODEC = CODECS["bfloat16"]


def test_every_value_that_came_as_bfloat16_comes_back_as_it_was() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    block = every[np.isfinite(every)]
    values = CODEC.decode(CODEC.encode(block, generator(1, 0)), block.size)
    np.testing.assert_array_equal(values.view(np.uint32), block.view(np.uint32))  # minus zero is minus zero


def test_the_nearest_and_of_two_the_even_one() -> None:
    block = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8], np.float32)
    values = CODEC.decode(CODEC.encode(block, generator(1, 0)), block.size)
    assert values.tolist() == [1, 1 + 2**-6, 1 + 2**-7, -1]


def test_it_takes_a_third_less_than_two_bytes() -> None:
    assert len(CODEC.encode(gaussian(100_000), generator(1, 0))) < 1.35 * 100_000
