# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import nibbles


def test_the_first_is_the_lower_half() -> None:
    assert nibbles.pack(np.array([1, 2, 15, 0], np.uint8)).tobytes() == b"\x21\x0f"


def test_every_pair_comes_back() -> None:
    codes = np.array([(a, b) for a in range(16) for b in range(16)], np.uint8).ravel()
    packed = nibbles.pack(codes)
    assert len(set(packed.tolist())) == 256
    np.testing.assert_array_equal(nibbles.unpack(packed), codes)
