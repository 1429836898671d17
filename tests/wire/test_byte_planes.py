# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import byte_planes, two_frames

NUMBERS = np.array([0x0102, 0xFFFE, 0x8000], np.uint16)


def test_the_form_is_the_documented_one() -> None:
    upper, lower = (np.frombuffer(content, np.uint8) for content in (b"\x01\xff\x80", b"\x02\xfe\x00"))
    assert byte_planes.split(NUMBERS) == two_frames.write(upper, lower)


def test_every_number_comes_back() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    piece = byte_planes.split(every)
    np.testing.assert_array_equal(byte_planes.merge(piece, every.size), every)
    assert len(piece) <= byte_planes.largest(every.size)
