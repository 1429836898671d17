# SPDX-License-Identifier: Apache-2.0
"""Whether a filter fits the columns that a silo declares."""

from __future__ import annotations

import pytest

from cloister.row_filter import mistakes, parse
from cloister.silos import Column, ColumnKind

COLUMNS = {kind.value: Column(kind=kind) for kind in ColumnKind if kind is not ColumnKind.CATEGORY} | {
    "ward": Column(kind=ColumnKind.CATEGORY, values=("north", "south")),
    "grade": Column(kind=ColumnKind.CATEGORY, values=("1", "2")),
}


@pytest.mark.parametrize(
    "text",
    [
        "number >= 18 and number < 2.5 and number in [1, 2.5]",
        "integer == 18 and integer != 2.0",
        "boolean == true and boolean in [false]",
        "date >= 2024-01-31",
        "timestamp < 2024-01-31T10:00:00Z",
        "ward == 'north' or ward not in ['south']",
        "grade == '1'",
        "number is missing or ward is not missing or date is missing",
    ],
)
def test_what_fits(text: str) -> None:
    assert mistakes(parse(text), COLUMNS) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wrad == 'north'", "there is no column `wrad` (nearest is `ward`)"),
        ("zzz is missing", "there is no column `zzz`"),
        ("identifie == 1", "there is no column `identifie` (nearest is `integer`)"),  # none that cannot be filtered by
        ("number == '18'", "column `number` is of kind number and is compared with a number, not with `'18'`"),
        ("number == true", "column `number` is of kind number and is compared with a number, not with `true`"),
        ("integer < 2.5", "column `integer` is of kind integer and is compared with a whole number, not with `2.5`"),
        ("boolean == 1", "column `boolean` is of kind boolean and is compared with `true` or `false`, not with `1`"),
        ("boolean < true", "column `boolean` is of kind boolean, which has no order for `<`"),
        ("ward >= 'north'", "column `ward` is of kind category, which has no order for `>=`"),
        ("ward == 'nroth'", "column `ward` has no value `'nroth'` (nearest is `north`)"),
        ("ward in ['north', 'zz']", "column `ward` has no value `'zz'`"),
        ("not (number > 1 or ward not in ['zz'])", "column `ward` has no value `'zz'`"),
        ("grade == 1", "column `grade` is of kind category and is compared with a text in quotes, not with `1`"),
        (
            "date == 2024-01-31T10:00:00Z",
            "column `date` is of kind date and is compared with a date such as `2024-01-31`, not with "
            "`2024-01-31T10:00:00Z`",
        ),
        (
            "timestamp > 2024-01-31",
            "column `timestamp` is of kind timestamp and is compared with a moment such as `2024-01-31T10:00:00Z`, "
            "not with `2024-01-31`",
        ),
    ],
)
def test_what_does_not(text: str, said: str) -> None:
    assert mistakes(parse(text), COLUMNS) == (said,)


@pytest.mark.parametrize("kind", ["identifier", "text", "spans", "messages", "image"])
def test_kinds_by_which_rows_are_never_filtered(kind: str) -> None:
    said = (f"column `{kind}` is of kind {kind}, and rows are not filtered by such",)
    for test in (f"{kind} == 'x'", f"{kind} in ['x']", f"{kind} is missing", f"not ({kind} is not missing)"):
        assert mistakes(parse(test), COLUMNS) == said


def test_every_kind_is_decided_on() -> None:
    can_be = {name for name in COLUMNS if not mistakes(parse(f"{name} is missing"), COLUMNS)}
    assert can_be == {"number", "integer", "boolean", "date", "timestamp", "ward", "grade"}


def test_every_mistake_is_said_once_in_the_order_of_the_filter() -> None:
    found = mistakes(parse("zz == 1 and text is missing or zz == 2 and not number == 'x'"), COLUMNS)
    assert [each.split("`")[1] for each in found] == ["zz", "text", "number"]
