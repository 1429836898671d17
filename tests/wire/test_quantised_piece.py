# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import quantised_piece, two_frames

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
    planes = np.frombuffer(b"\x3f\x00\xff\x80\x01\xff", np.uint8)
    assert quantised_piece.write(STEPS, CODES) == two_frames.write(planes, CODES)
