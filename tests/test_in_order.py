# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from cloister.in_order import in_order
from cloister.vectors import Vector


def test_blocks_come_in_order_whichever_is_made_first() -> None:
    def make(number: int) -> Vector:
        time.sleep(0.02 if number % 2 == 0 else 0)
        return np.array([number], np.float32)

    assert [block[0] for block in in_order(make, 9)] == list(range(9))
    assert list(in_order(make, 0)) == []


def test_few_blocks_lie_ready_however_slowly_they_are_taken() -> None:
    made = itertools.count()
    begun = []

    def make(number: int) -> Vector:
        begun.append(next(made))
        return np.zeros(1, np.float32)

    blocks = in_order(make, 100)
    next(blocks)
    time.sleep(0.1)
    assert len(begun) <= 6  # one for each of at most four threads, one that is given, one that waits


def test_who_stops_in_the_middle_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    blocks = in_order(lambda _: np.zeros(1, np.float32), 50)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_what_one_raises_is_raised_where_its_turn_is() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        return number

    blocks = in_order(make, 9)
    assert [next(blocks) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(blocks)
