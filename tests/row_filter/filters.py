# SPDX-License-Identifier: Apache-2.0
"""Filters drawn by chance."""

from __future__ import annotations

from datetime import UTC

from hypothesis import strategies as st

from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter

OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
# `not` before a comparison is read as its opposite, so no column can be called so.
NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,62}\Z").filter(lambda name: name != "not")
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)
SCALARS = (
    TEXTS
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
)


def filters(tests: st.SearchStrategy[RowFilter]) -> st.SearchStrategy[RowFilter]:
    """Trees of a few levels whose leaves are ``tests``."""
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(All, st.lists(inner, min_size=2, max_size=4).map(tuple)),
            st.builds(AnyOf, st.lists(inner, min_size=2, max_size=4).map(tuple)),
        ),
        max_leaves=12,
    )


def leaves_of(
    names: st.SearchStrategy[str], values: st.SearchStrategy[object], operators: st.SearchStrategy[str] = OPERATORS
) -> st.SearchStrategy[RowFilter]:
    """One comparison, list or test for what is missing."""
    return st.one_of(
        st.builds(Comparison, names, operators, values),
        st.builds(OneOf, names, st.lists(values, min_size=1, max_size=4).map(tuple)),
        st.builds(Missing, names),
    )


ANY = filters(leaves_of(NAMES, SCALARS))
