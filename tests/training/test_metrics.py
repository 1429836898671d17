# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cloister.training.metrics import accuracy, auc, c_index, macro_f1, mae, r2, rmse


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


def test_auc_against_figures_worked_out_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    assert auc(classes(0, 0, 1, 1), scores) == pytest.approx(3 / 4)
    assert auc(classes(0, 0, 1, 1), np.full((4, 2), 0.5)) == 0.5
    assert auc(classes(1, 1), scores[:2]) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_auc_agrees_with_scikit_learns(records: list[tuple[int, int, int]]) -> None:
    truth = classes(*(record[0] for record in records))
    first = np.array([[record[1] + 1, record[2] + 1, 1] for record in records], np.float64)
    scores = first / first.sum(axis=1, keepdims=True)
    areas = [
        roc_auc_score(truth == number, scores[:, number])
        for number in range(3)
        if 0 < (truth == number).sum() < len(truth)
    ]
    found = auc(truth, scores)
    assert found == (pytest.approx(np.mean(areas)) if areas else None)


def test_errors_of_numbers_against_figures_worked_out_by_hand() -> None:
    truth, predicted = np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 5.0])
    assert rmse(truth, predicted) == pytest.approx((5 / 3) ** 0.5)
    assert mae(truth, predicted) == pytest.approx(1.0)
    assert r2(truth, predicted) == pytest.approx(1 - 5 / 14)
    assert r2(np.array([2.0, 2.0]), np.array([2.0, 3.0])) is None


def test_c_index_against_figures_worked_out_by_hand() -> None:
    times, risks = np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 2.0])
    assert c_index(times, np.array([True, True, True]), risks) == pytest.approx(2 / 3)
    assert c_index(times, np.array([True, False, False]), risks) == 1.0
    assert c_index(times, np.array([False, False, True]), risks) is None
    assert c_index(times, np.array([True, True, True]), np.zeros(3)) == 0.5
    # At the same time an event is comparable with a record that ends without one, and not with another event.
    same = np.array([5.0, 5.0])
    assert c_index(same, np.array([True, False]), np.array([2.0, 1.0])) == 1.0
    assert c_index(same, np.array([True, True]), np.array([2.0, 1.0])) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(-3, 3)), min_size=1, max_size=30))
def test_c_index_agrees_with_counting_every_pair(records: list[tuple[int, bool, int]]) -> None:
    concordant, comparable = 0.0, 0
    for (time, event, risk), (other_time, other_event, other_risk) in itertools.permutations(records, 2):
        if event and (other_time > time or (other_time == time and not other_event)):
            comparable += 1
            concordant += 1.0 if risk > other_risk else 0.5 if risk == other_risk else 0.0
    times, events, risks = (np.array(column) for column in zip(*records, strict=True))
    found = c_index(times.astype(np.float64), events, risks.astype(np.float64))
    assert found == (pytest.approx(concordant / comparable) if comparable else None)
