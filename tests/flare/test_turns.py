# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.errors import DeniedError
from cloister.flare.turns import Turns


def test_each_round_is_due_once_and_the_measurement_after_them() -> None:
    turns = Turns(2)
    turns.train(1)
    turns.train(2)
    turns.evaluate(3)
    assert turns.last == 3


def test_a_round_may_be_left_out_and_not_caught_up_with() -> None:
    turns = Turns(3)
    turns.train(2)
    with pytest.raises(DeniedError, match="asks for round 1 out of turn"):
        turns.train(1)
    assert turns.last == 2


@pytest.mark.parametrize("number", [-1, 0, 1, 3, 4])
def test_no_round_is_repeated_or_added(number: int) -> None:
    turns = Turns(2)
    turns.train(1)
    with pytest.raises(DeniedError, match="out of turn"):
        turns.train(number)
    assert turns.last == 1


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_what_is_measured_is_what_came_of_the_last_round(number: int) -> None:
    turns = Turns(2)
    with pytest.raises(DeniedError, match="out of turn"):
        turns.evaluate(number)
    turns.evaluate(3)
    with pytest.raises(DeniedError, match="out of turn"):
        turns.evaluate(3)
