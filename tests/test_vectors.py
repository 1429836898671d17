# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.vectors import BLOCK_VALUES, ArraySource, Difference, blocks_of, values_in


def test_blocks_are_counted() -> None:
    assert [blocks_of(size) for size in (0, 1, BLOCK_VALUES, BLOCK_VALUES + 1)] == [0, 1, 1, 2]
    assert [values_in(number, BLOCK_VALUES + 1) for number in range(3)] == [BLOCK_VALUES, 1, 0]


def test_an_array_is_read_block_by_block_and_stays_as_it_is() -> None:
    values = np.arange(BLOCK_VALUES + 2, dtype=np.float32)
    source = ArraySource(values)
    assert source.size == values.size
    for number in (0, 1):
        block = source.block(number)
        np.testing.assert_array_equal(block, values[number * BLOCK_VALUES :][: values_in(number, source.size)])
        block[...] = -1
    assert values.min() == 0


def test_a_difference_is_taken_block_by_block_and_may_be_infinite() -> None:
    after, before = (np.full(BLOCK_VALUES + 2, value, np.float32) for value in (3.0, 1.0))
    after[-1], before[-1] = 3e38, -3e38
    source = Difference(ArraySource(after), ArraySource(before))
    assert source.size == BLOCK_VALUES + 2
    assert set(source.block(0)) == {2.0}
    assert source.block(1).tolist() == [2.0, float("inf")]
    assert after[0] == 3.0
