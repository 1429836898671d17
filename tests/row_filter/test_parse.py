# SPDX-License-Identifier: Apache-2.0
"""What is read as which filter, and what is said of what cannot be read."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, parse

COLUMN = "expected a column, `not` or `(` and found"
COMPARISON = "expected a comparison such as `==`, `in [..]` or `is missing` and found"
VALUE = "expected a value such as `18`, `'north'`, `true` or `2024-01-31` and found"
JOINED = "expected `and`, `or` or the end and found"

A, B, C = (Comparison(name, "==", 1) for name in "abc")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("age >= 18", Comparison("age", ">=", 18)),
        ("age>=18", Comparison("age", ">=", 18)),
        ("a == -1", Comparison("a", "==", -1)),
        ("a < 2.5", Comparison("a", "<", 2.5)),
        ("a < -1e-3", Comparison("a", "<", -0.001)),
        ("a != true", Comparison("a", "!=", True)),
        ("a == false", Comparison("a", "==", False)),
        ("ward == 'north'", Comparison("ward", "==", "north")),
        ('ward == "north"', Comparison("ward", "==", "north")),
        ("a == 'it''s'", Comparison("a", "==", "it's")),
        ('a == "it\'s ""so"""', Comparison("a", "==", 'it\'s "so"')),
        ("a == ''", Comparison("a", "==", "")),
        ("a == '\\n'", Comparison("a", "==", "\\n")),
        ("a == 'a and b'", Comparison("a", "==", "a and b")),
        ("d <= 2024-01-31", Comparison("d", "<=", date(2024, 1, 31))),
        ("t > 2024-01-31T10:00:00Z", Comparison("t", ">", datetime(2024, 1, 31, 10, tzinfo=UTC))),
        ("t > 2024-01-31T10:00:00.25-02:30", Comparison("t", ">", datetime(2024, 1, 31, 12, 30, 0, 250_000, UTC))),
        ("ward in ['north', 'south']", OneOf("ward", ("north", "south"))),
        ("ward in ['north']", OneOf("ward", ("north",))),
        ("stage not in [1,2]", Not(OneOf("stage", (1, 2)))),
        ("a is missing", Missing("a")),
        ("a is not missing", Not(Missing("a"))),
        ("not a is missing", Not(Missing("a"))),
        ("not (a is missing)", Not(Missing("a"))),
        ("not not a == 1", Not(Not(A))),
        ("a == 1 and b == 1 and c == 1", All((A, B, C))),
        ("a == 1 and (b == 1 and c == 1)", All((A, All((B, C))))),
        ("a == 1 or b == 1 and c == 1", AnyOf((A, All((B, C))))),
        ("(a == 1 or b == 1) and c == 1", All((AnyOf((A, B)), C))),
        ("not a == 1 and b == 1", All((Not(A), B))),
        ("\n  a == 1\n\tand b == 1\r\n", All((A, B))),
        ("((((a == 1))))", A),
        # A word of the language is a column where only a column can stand.
        ("insulin in [true]", OneOf("insulin", (True,))),
        ("missing is missing", Missing("missing")),
        ("order == 1 and android == 1", All((Comparison("order", "==", 1), Comparison("android", "==", 1)))),
        (
            "age >= 18 and ward in ['north', 'south'] and not (discharged is missing)",
            All((Comparison("age", ">=", 18), OneOf("ward", ("north", "south")), Not(Missing("discharged")))),
        ),
    ],
)
def test_what_is_read(text: str, condition: RowFilter) -> None:
    assert repr(parse(text)) == repr(condition)  # because 1, 1.0 and True are equal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"at character 1: {COLUMN} the end"),
        ("   ", f"at character 1: {COLUMN} the end"),
        ("a", f"at character 2: {COMPARISON} the end"),
        ("a ==  ", f"at character 5: {VALUE} the end"),
        ("a = 1", f"at character 3: {COMPARISON} `=` (write `==`)"),
        ("a == b", f"at character 6: {VALUE} `b`"),
        ("a == 1 b", f"at character 8: {JOINED} `b`"),
        ("a == 1)", "at character 7: `)` closes nothing"),
        ("(a == 1", "at character 8: expected `and`, `or` or `)` and found the end"),
        ("a == 1 AND b == 1", f"at character 8: {JOINED} `AND` (write `and`)"),
        ("a == 1 && b == 1", f"at character 8: {JOINED} `&&` (write `and`)"),
        ("a <> 1", f"at character 3: {COMPARISON} `<>` (write `!=`)"),
        ("a in []", f"at character 7: {VALUE} `]`"),
        ("a in [1 2]", "at character 9: expected `,` or `]` and found `2`"),
        ("a in 1", "at character 6: expected `[` and found `1`"),
        ("a is null", "at character 6: expected `missing` and found `null`"),
        ("a is not null", "at character 10: expected `missing` and found `null`"),
        ("a not == 1", "at character 7: expected `in` and found `==`"),
        ("a == 'x", "at character 6: a quote is never closed"),
        ("a == 'x\ny'", "at character 6: a text in quotes holds a line end or another character that cannot be printed"),  # noqa: E501
        ("a == 18years", f"at character 6: {VALUE} `18years`"),
        ("a == 2024-02-30", "at character 6: `2024-02-30` is no date of the calendar"),
        ("a == 2024-01-31T25:00:00Z", "at character 6: `2024-01-31T25:00:00Z` is no moment of the calendar"),
        ("a == 0001-01-01T00:00:00+14:00", "at character 6: `0001-01-01T00:00:00+14:00` is no moment of the calendar"),
        ("a == 2024-01-31T10:00:00", f"at character 6: {VALUE} `2024-01-31T10:00:00`"),
        ("a == 1e999", "at character 6: the number is too large"),
        ("a == 1 \u202e", rf"at character 8: {JOINED} `\u202e`"),
        ("18 <= a", f"at character 1: {COLUMN} `18`"),
        ("len(a) == 1", f"at character 4: {COMPARISON} `(`"),
        ("a.b == 1", f"at character 2: {COMPARISON} `.b`"),
        ("a == 1; drop", f"at character 7: {JOINED} `;`"),
        ("a" * 64 + " == 1", f"at character 1: {COLUMN} `" + "a" * 40 + "`"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value) == said


class TestBounds:
    def test_length(self) -> None:
        assert parse("a == 1" + " " * 1994) == A
        with pytest.raises(ValueError, match="is 2001 characters long, more than the 2000"):
            parse("a == 1" + " " * 1995)

    def test_depth(self) -> None:
        parse("not " * 19 + "a == 1")
        with pytest.raises(ValueError, match="is nested more than 20 deep"):
            parse("not " * 20 + "a == 1")

    def test_the_deepest_that_fits_into_the_length_does_no_harm(self) -> None:
        assert parse("(" * 990 + "a == 1" + ")" * 990) == A
        with pytest.raises(ValueError, match="deep"):
            parse("not " * 498 + "a == 1")
        with pytest.raises(ValueError, match="at character 2001: expected a column"):
            parse("(" * 2000)

    def test_terms(self) -> None:
        parse(f"a in [{', '.join(map(str, range(200)))}]")
        with pytest.raises(ValueError, match="has 201 terms, more than the 200"):
            parse(f"a in [{', '.join(map(str, range(200)))}] or b is missing")

    def test_the_worst_text_is_refused_in_no_time(self) -> None:
        for text in (
            "'" * 1999,
            '"' * 1999 + "'",
            "a == " + "1" * 1990 + "x",
            "a " * 999,
            "not(" * 500,
            "a==1 or " * 249,
        ):
            began = time.perf_counter()
            with pytest.raises(ValueError):
                parse(text)
            assert time.perf_counter() - began < 0.5


@given(st.text(max_size=60) | st.text("ab12 =<>!()[],'\"-T:Z.notrueismgd\0\n", max_size=60))
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert re.fullmatch(r"at character [0-9]+: [ -~\u00a1-\U0010ffff]+", str(error)), str(error)
        assert int(str(error).split()[2][:-1]) <= len(text) + 1


def test_what_the_documentation_shows_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "documents.md").read_text(encoding="utf-8")
    shown = text.split("<!-- row filters -->\n```text\n")[1].split("```")[0].splitlines()
    assert len(shown) > 3
    for line in shown:
        parse(line)
