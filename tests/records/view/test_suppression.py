# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.view.suppression import told

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 10, 40], [0, 10, 40]),
        ([3, 97], [None, None]),
        ([3, 50, 40], [None, 50, None]),  # alone, 3 would be what is left of the total
        ([3, 4, 50, 40], [None, None, 50, None]),  # 7 together are too few as well
        ([9, 9, 50, 0], [None, None, 50, 0]),
        ([9, 2, 50], [None, None, 50]),
        ([9, 1, 50], [None, None, None]),  # 10 together, and neither can be 10
        ([4, 4, 3, 0], [None, None, None, None]),  # 11 in all, and none of three can be 10
        ([12], [12]),
        ([0, 0], [0, 0]),
    ],
)
def test_examples_with_a_minimum_of_10(counts: list[int], expected: list[int | None]) -> None:
    assert told(counts, 10) == expected


def test_what_is_never_told_is_hidden_first() -> None:
    assert told([3, 40, 50], 10, frozenset({2})) == [None, 40, None]
    assert told([30, 40, 3], 10, frozenset({2})) == [None, 40, None]  # the last one would follow from the first two


@given(COUNTS, st.integers(1, 12))
def test_every_count_that_is_not_told_could_be_small_or_not(counts: list[int], minimum: int) -> None:
    said = told(counts, minimum)
    assert all(one is None or one == count for one, count in zip(said, counts, strict=True))
    assert all(one is None or one == 0 or one >= minimum for one in said)
    hidden = [index for index, one in enumerate(said) if one is None]
    if not hidden or sum(counts) < minimum:
        return
    # Whoever is told knows the total, what is told, and that what is hidden is above 0, unless nothing is told at all.
    left, least = sum(counts) - sum(one for one in said if one is not None), int(len(hidden) < len(counts))
    largest = left - least * (len(hidden) - 1)
    assert len(hidden) > 1
    assert largest >= minimum
    assert largest > least


@given(COUNTS, st.integers(1, 12))
def test_no_larger_count_is_hidden_than_must_be(counts: list[int], minimum: int) -> None:
    said = told(counts, minimum)
    hidden = sorted(count for count, one in zip(counts, said, strict=True) if one is None)
    if hidden and len(hidden) < len(counts) and hidden[-1] >= minimum:
        fewer = hidden[:-1]
        assert len(fewer) < 2 or sum(fewer) - len(fewer) + 1 < minimum
