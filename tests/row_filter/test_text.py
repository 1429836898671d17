# SPDX-License-Identifier: Apache-2.0
"""A filter that is spelled out is read back as it was, and people can read it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from cloister.row_filter import RowFilter, in_words, parse, spelled
from cloister.row_filter.parse import MAXIMUM_CHARACTERS
from tests.row_filter.filters import ANY


@settings(deadline=None)
@given(ANY)
def test_what_is_spelled_is_read_back(condition: RowFilter) -> None:
    text = spelled(condition)
    if len(text) <= MAXIMUM_CHARACTERS:
        assert repr(parse(text)) == repr(condition)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age >= 18", "`age` is at least 18"),
        ("age < 2.5", "`age` is below 2.5"),
        ("ward == 'north'", "`ward` is `north`"),
        ("smoker != true", "`smoker` is not `true`"),
        ("d >= 2024-01-31", "`d` is not before `2024-01-31`"),
        ("t > 2024-01-31T10:00:00Z", "`t` is after `2024-01-31T10:00:00Z`"),
        ("ward in ['north', 'south']", "`ward` is one of `north`, `south`"),
        ("ward in ['north']", "`ward` is `north`"),
        ("ward not in ['north', 'south']", "`ward` is none of `north`, `south`"),
        ("ward not in ['north']", "`ward` is not `north`"),
        ("d is missing", "`d` is missing"),
        ("d is not missing", "`d` is not missing"),
        ("not age >= 18", "not (`age` is at least 18)"),
        ("a == 1 and (b == 2 or c == 3)", "`a` is 1 and (`b` is 2 or `c` is 3)"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert in_words(parse(text)) == words
