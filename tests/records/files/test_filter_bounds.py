# SPDX-License-Identifier: Apache-2.0
"""Rows are left out only where none between the bounds passes; where one of the bounds itself passes, none are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.files.filter_bounds import Bounds, can_pass
from cloister.row_filter import RowFilter, parse
from tests.records.test_filter_arrow import answer
from tests.row_filter.filters import filters, leaves_of

LEAVES = leaves_of(st.sampled_from("ab"), st.integers(0, 6))


@given(
    filters(LEAVES),
    st.lists(
        st.fixed_dictionaries({"a": st.none() | st.integers(1, 5), "b": st.none() | st.integers(1, 5)}), min_size=1
    ),
)
def test_where_one_row_passes_none_is_left_out(condition: RowFilter, rows: list[dict[str, Any]]) -> None:
    bounds = {}
    for name in "ab":
        cells = [row[name] for row in rows if row[name] is not None]
        bounds[name] = Bounds(min(cells), max(cells)) if cells else Bounds(nothing=True)
    if any(answer(condition, row) is True for row in rows):
        assert can_pass(condition, bounds)
        assert can_pass(condition, {})


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("a < 2", False),
        ("a <= 2", True),
        ("a > 4", False),
        ("a >= 4", True),
        ("a == 1", False),
        ("a == 3.5", True),
        ("a != 2", True),
        ("not a >= 2", False),
        ("not a <= 4", False),
        ("a in [0, 1, 5]", False),
        ("a in [0, 3]", True),
        ("a not in [3]", True),
        ("one == 7", True),
        ("one != 7", False),
        ("one not in [7]", False),
        ("one not in [7, 8]", False),
        ("a < 2 or one != 7", False),
        ("a < 2 or one == 7", True),
        ("a >= 2 and one != 7", False),
        ("not (a >= 2 and one == 7)", False),
        ("not (a > 2 and one == 7)", True),
        ("none == 1", False),
        ("none != 1", False),
        ("none is missing", True),
        ("none is not missing", False),
        ("a is missing", True),
        ("unknown == 1", True),
        # Another type than what is known of the column: nothing is concluded.
        ("a == true", True),
        ("a == '9'", True),
        ("a == 2024-01-01", True),
        ("yes == 0", True),
        ("yes == false", False),
    ],
)
def test_what_can_pass(text: str, possible: bool) -> None:
    bounds = {"a": Bounds(2, 4), "one": Bounds(7, 7), "none": Bounds(nothing=True), "yes": Bounds(True, True)}
    assert can_pass(parse(text), bounds) is possible
