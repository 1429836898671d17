# SPDX-License-Identifier: Apache-2.0
"""What cells become under the kind that the silo document declares, and which of them break it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.schema import MOMENT, TYPES, conform
from cloister.silos import Column, ColumnKind

BAD = object()
"""Stands for a cell that breaks the declaration."""


def read(cells: list[Any], kind: str, arrow: pa.DataType | None = None, **declared: Any) -> list[Any]:
    missing = declared.pop("missing", ())
    column = Column.model_validate({"kind": kind, **declared}, strict=False)
    found = conform(pa.array(cells, arrow), column, missing)
    assert found.cells.type == TYPES[column.kind]
    assert found.invalid.null_count == 0
    assert len(found.cells) == len(found.invalid) == len(cells)
    pairs = zip(found.cells.to_pylist(), found.invalid.to_pylist(), strict=True)
    return [BAD if broken else cell for cell, broken in pairs]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1", 1.0), ("-2.5", -2.5), ("+3", 3.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0),
        ("1E-2", 0.01), ("-0", 0.0),
        ("", None), (None, None), ("?", None),
        ("1,5", BAD), ("1 000", BAD), (" 1", BAD), ("1 ", BAD), ("0x1F", BAD), ("nan", BAD), ("inf", BAD),
        ("1e400", BAD),
        ("--1", BAD), ("1e", BAD), ("one", BAD), ("１", BAD), ("1_000", BAD), ("1\n", BAD), ("1\0", BAD),
    ],
)  # fmt: skip
def test_numbers_in_text(cell: str | None, number: object) -> None:
    assert read([cell], "number", pa.string(), missing=("?",)) == [number]


@pytest.mark.parametrize(
    ("cell", "number"),
    [("7", 7), ("+7", 7), ("-7", -7), ("007", 7), ("9" * 18, int("9" * 18)), ("", None),
     ("7.0", BAD), ("7e1", BAD), ("9" * 19, BAD), ("1\n", BAD)],
)  # fmt: skip
def test_whole_numbers_in_text(cell: str, number: object) -> None:
    assert read([cell], "integer", pa.string()) == [number]


def test_numbers_of_other_types() -> None:
    assert read([1, None], "number", pa.int32()) == [1.0, None]
    assert read([Decimal("1.25")], "number") == [1.25]
    assert read([1.5, float("nan"), None], "number") == [1.5, None, None]
    assert read([float("inf"), float("-inf")], "number") == [BAD, BAD]
    assert read([1.0, 2.5, float("nan"), 1e300], "integer") == [1, BAD, None, BAD]
    assert read([2**63], "integer", pa.uint64()) == [BAD]
    assert read([2**62], "integer", pa.int64()) == [2**62]
    assert read([date(2024, 1, 1)], "number") == [BAD]
    assert read([True], "number") == [BAD]


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_ranges_include_their_ends(kind: str) -> None:
    assert read(["-1", "0", "10", "11", ""], kind, minimum=0, maximum=10) == [BAD, 0, 10, BAD, None]
    assert read([2**60], kind, pa.int64(), maximum=1) == [BAD]


def test_categories_are_compared_letter_by_letter() -> None:
    values = ("low", "high", "1")
    assert read(["low", "Low", "low ", "", None, "x"], "category", values=values) == ["low", BAD, BAD, None, None, BAD]
    assert read([1, 2], "category", values=values) == ["1", BAD]
    assert read([1.0, 2.0, float("nan")], "category", values=("1", "2.5")) == ["1", BAD, None]
    assert read(["NA", "low"], "category", values=values, missing=("NA",)) == [None, "low"]


def test_truth_values() -> None:
    assert read(["true", "FALSE", "1", "0", "Yes", "no", "", "2", "t"], "boolean") == [
        True, False, True, False, True, False, None, BAD, BAD,
    ]  # fmt: skip
    assert read([True, None], "boolean") == [True, None]
    assert read([1, 0, 2], "boolean") == [True, False, BAD]
    assert read([1.0, 0.0, 0.5, float("nan")], "boolean") == [True, False, BAD, None]


def test_dates_are_days_that_there_are() -> None:
    cells = ["2024-02-29", "2023-02-29", "2024-02-31", "20240229", "2024-2-9", "2024-02-29T00:00:00", ""]
    assert read(cells, "date") == [date(2024, 2, 29), BAD, BAD, BAD, BAD, date(2024, 2, 29), None]
    assert read([datetime(2024, 1, 2, 23)], "date") == [date(2024, 1, 2)]
    assert read([date(2024, 1, 2)], "date") == [date(2024, 1, 2)]
    assert read([20240102], "date") == [BAD]


FIRST, LAST = date(1, 1, 1), date(9999, 12, 31)
DAYS = [(each - date(1970, 1, 1)).days for each in (FIRST, LAST)]


@pytest.mark.parametrize("kind", ["date", "timestamp"])
@pytest.mark.parametrize(
    ("arrow", "per_day"),
    [
        (pa.date32(), 1),
        (pa.date64(), 86_400_000),
        (pa.timestamp("s"), 86_400),
        (pa.timestamp("ms", "Europe/Berlin"), 86_400_000),
        (pa.timestamp("us"), 86_400_000_000),
    ],
)
def test_what_has_no_year_is_not_taken_for_another_day(kind: str, arrow: pa.DataType, per_day: int) -> None:
    storage = pa.int32() if arrow == pa.date32() else pa.int64()
    farthest = 2**31 - 1 if arrow == pa.date32() else 2**62
    days = [*DAYS, DAYS[0] - 1, DAYS[1] + 1]
    numbers = [*(day * per_day for day in days), farthest, -farthest, None]
    found = conform(pa.array(numbers, storage).view(arrow), Column.model_validate({"kind": kind}, strict=False))
    assert found.invalid.to_pylist() == [False, False, True, True, True, True, False]
    assert found.cells.null_count == 5
    assert [cell.strftime("%m-%d") for cell in found.cells.to_pylist()[:2]] == ["01-01", "12-31"]


def test_moments_are_utc() -> None:
    ten = datetime(2024, 1, 2, 10, tzinfo=UTC)
    cells = [
        "2024-01-02T10:00:00",
        "2024-01-02T12:00:00+02:00",
        "2024-01-02 10:00:00Z",
        "2024-01-02",
        "noon",
        "9999-99-99",
    ]
    assert read(cells, "timestamp") == [ten, ten, ten, datetime(2024, 1, 2, tzinfo=UTC), BAD, BAD]
    assert read([ten.replace(tzinfo=None)], "timestamp", pa.timestamp("ns")) == [ten]
    assert read([date(2024, 1, 2)], "timestamp") == [datetime(2024, 1, 2, tzinfo=UTC)]
    assert TYPES[ColumnKind.TIMESTAMP] == MOMENT


def test_free_text_is_kept_as_it_is() -> None:
    assert read(["", "?", " ", None], "text", missing=("?",)) == ["", "?", " ", None]
    assert read(["?"], "spans", missing=("?",)) == [None]


@given(st.lists(st.one_of(st.none(), st.text()), max_size=20), st.sampled_from(list(ColumnKind)))
def test_no_text_breaks_the_reader_and_what_is_null_is_never_invalid(cells: list[str | None], kind: ColumnKind) -> None:
    values = {"values": ("a", "b")} if kind is ColumnKind.CATEGORY else {}
    found = read(cells, kind.value, pa.string(), **values)
    assert all(result is None for cell, result in zip(cells, found, strict=True) if cell is None)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=20), st.sampled_from(list(ColumnKind)))
def test_no_number_breaks_the_reader(cells: list[float | None], kind: ColumnKind) -> None:
    values = {"values": ("a", "b")} if kind is ColumnKind.CATEGORY else {}
    read(cells, kind.value, pa.float64(), **values)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_as_python_does_comes_back_exactly(number: float) -> None:
    assert read([repr(number)], "number") == [number]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_day_of_a_moment_is_the_same_whatever_zone_a_store_writes_it_in(zone: str, unit: str) -> None:
    moment = pa.array([datetime(2024, 1, 1, 3, 0, tzinfo=UTC), datetime(2024, 1, 1, 23, 0, tzinfo=UTC)])
    declared = Column(kind=ColumnKind.DATE)
    assert conform(moment.cast(pa.timestamp(unit, zone)), declared).cells.to_pylist() == [date(2024, 1, 1)] * 2
    texts = pa.array(["2023-12-31T22:00:00-05:00", "2024-01-02T04:30:00+05:30"])
    assert conform(texts, declared).cells.to_pylist() == [date(2024, 1, 1)] * 2
