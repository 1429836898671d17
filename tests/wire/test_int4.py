# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.wire import CODECS, nibbles, quantised_piece
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian

CODEC = CODECS["int4"]


@pytest.mark.parametrize("size", [73_728, 147_456, 1 << 20])
def test_gaussian_values_take_less_than_point_four_two_bytes(size: int) -> None:
    assert len(CODEC.encode(gaussian(size), generator(1, 0))) < 0.417 * size


def test_a_few_values_among_zeros_take_next_to_nothing() -> None:
    block = np.zeros(1 << 20, np.float32)
    block[::10_000] = 1
    assert len(CODEC.encode(block, generator(1, 0))) < 2000


def test_the_spare_half_of_the_last_byte_says_nothing() -> None:
    for spare in range(16):
        codes = np.array([8, 9, 10, spare], np.uint8)
        piece = quantised_piece.write(np.array([0x3F80], np.uint16), nibbles.pack(codes))
        if spare == 8:
            assert CODEC.decode(piece, 3).tolist() == [0, 1, 2]
        else:
            with pytest.raises(EgressError):
                CODEC.decode(piece, 3)
