# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.training.metrics import accuracy, macro_f1


def classes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_against_figures_worked_out_by_hand() -> None:
    truth, predicted = classes(0, 0, 1, 1, 2), classes(0, 1, 1, 1, 0)
    assert accuracy(truth, predicted) == pytest.approx(3 / 5)
    # class 0: TP 1, FP 1, FN 1 -> 1/2; class 1: TP 2, FP 1, FN 0 -> 4/5; class 2: TP 0, FN 1 -> 0
    assert macro_f1(truth, predicted) == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)


def test_a_class_that_never_occurs_does_not_count() -> None:
    assert macro_f1(classes(3, 3), classes(3, 3)) == 1.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50))
def test_lie_between_0_and_1_and_are_1_only_where_all_is_right(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (classes(*column) for column in zip(*pairs, strict=True))
    for metric in (accuracy, macro_f1):
        value = metric(truth, predicted)
        assert 0 <= value <= 1
        assert (value == 1) == bool((truth == predicted).all())
