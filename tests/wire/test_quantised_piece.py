# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.wire import frame, quantised_piece

STEPS = np.array([0x3F80, 0x0001, 0xFFFF], np.uint16)
CODES = np.arange(200, dtype=np.uint8)
COUNT = 700  # makes three groups


def test_steps_and_codes_come_back() -> None:
    piece = quantised_piece.write(STEPS, CODES)
    steps, codes = quantised_piece.read(piece, COUNT, 200)
    np.testing.assert_array_equal(steps, STEPS)
    np.testing.assert_array_equal(codes, CODES)
    assert len(piece) <= quantised_piece.largest(COUNT, 200)


def test_the_form_is_the_documented_one() -> None:
    first, second = frame.compress(b"\x3f\x00\xff\x80\x01\xff"), frame.compress(CODES.tobytes())
    assert quantised_piece.write(STEPS, CODES) == len(first).to_bytes(4, "little") + first + second


@pytest.mark.parametrize("length", [0, 1, 14, 16, 10_000, 2**32 - 1])
def test_a_wrong_length_of_the_first_frame_is_refused(length: int) -> None:
    piece = quantised_piece.write(STEPS, CODES)
    assert int.from_bytes(piece[:4], "little") == 15 or length != 15
    with pytest.raises(EgressError):
        quantised_piece.read(length.to_bytes(4, "little") + piece[4:], COUNT, 200)
