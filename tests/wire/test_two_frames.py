# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.wire import frame, two_frames

FIRST, SECOND = np.arange(6, dtype=np.uint8), np.arange(200, dtype=np.uint8)
PIECE = two_frames.write(FIRST, SECOND)


def test_both_come_back() -> None:
    first, second = two_frames.read(PIECE, 6, 200)
    np.testing.assert_array_equal(first, FIRST)
    np.testing.assert_array_equal(second, SECOND)
    assert len(PIECE) <= two_frames.largest(6, 200)


def test_the_form_is_the_documented_one() -> None:
    first, second = frame.compress(FIRST.tobytes()), frame.compress(SECOND.tobytes())
    assert len(first).to_bytes(4, "little") + first + second == PIECE


@pytest.mark.parametrize("off", [-1, 1, 100, 10_000, 2**31])
def test_a_wrong_length_of_the_first_is_refused(off: int) -> None:
    length = int.from_bytes(PIECE[:4], "little") + off
    with pytest.raises(EgressError):
        two_frames.read(length.to_bytes(4, "little") + PIECE[4:], 6, 200)


@pytest.mark.parametrize(("first", "second"), [(5, 200), (7, 200), (6, 199), (6, 201), (200, 6)])
def test_other_lengths_of_contents_are_refused(first: int, second: int) -> None:
    with pytest.raises(EgressError):
        two_frames.read(PIECE, first, second)
