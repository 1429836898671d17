# SPDX-License-Identifier: Apache-2.0
"""A filter asked of a batch answers as it does when asked of each row by itself."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.records.filter_arrow import mask_of, passing
from cloister.records.schema import conform
from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, parse
from cloister.silos import Column, ColumnKind
from tests.row_filter.filters import filters, leaves_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "moment": pa.timestamp("us", tz="UTC"),
}
# Few different values, so that cells and values often meet, and the ones around which comparisons go wrong.
NUMBERS = [0, -0.0, 1, 2.5, -3, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 1e300, -1e300, 10**400, -(10**400)]
VALUES: dict[str, list[Any]] = {
    "text": ["", "a", "b", "é", "NORTH"],
    "number": NUMBERS,
    "integer": NUMBERS,
    "boolean": [True, False],
    "date": [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)],
    "moment": [EPOCH, datetime(2024, 2, 29, 1, 2, 3, 4, UTC), datetime.max.replace(tzinfo=UTC)],
}  # fmt: skip
CELLS = VALUES | {
    "number": [0.0, -0.0, 1.0, 2.5, -3.0, float(2**53), 1e300, -1e300, math.nan, 5e-324],
    "integer": [0, 1, 2, 3, -3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)],
}
OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def answer(condition: RowFilter, row: Mapping[str, Any], broken: Set[str] = frozenset()) -> bool | None:
    """What SQL says of one row: true, false, or neither; of cells of ``broken`` nothing is known."""
    if isinstance(condition, Missing):
        return None if condition.column in broken else row[condition.column] is None
    if isinstance(condition, Comparison | OneOf):
        cell = row[condition.column]
        if cell is None:
            return None
        if isinstance(condition, OneOf):
            return any(exact(cell) == exact(value) for value in condition.values)
        return bool(OPERATORS[condition.operator](exact(cell), exact(condition.value)))
    if isinstance(condition, Not):
        inner = answer(condition.operand, row, broken)
        return None if inner is None else not inner
    answers = [answer(each, row, broken) for each in condition.operands]
    decides = isinstance(condition, AnyOf)  # one true answer decides an `or`, one false answer an `and`
    if decides in answers:
        return decides
    return None if None in answers else not decides


def exact(value: Any) -> Any:
    return Fraction(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


TESTS = st.one_of(*[leaves_of(st.just(name), st.sampled_from(VALUES[name])) for name in TYPES])
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | st.sampled_from(cells) for name, cells in CELLS.items()}), max_size=6
)


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()})


@settings(max_examples=100, deadline=None)
@given(filters(TESTS), ROWS)
def test_the_mask_is_what_each_row_answers(condition: RowFilter, rows: list[dict[str, Any]]) -> None:
    mask = mask_of(condition, batch_of(rows))
    for row in rows:  # a number that is none is nothing
        row["number"] = None if row["number"] is not None and math.isnan(row["number"]) else row["number"]
    assert mask.type == pa.bool_()
    assert mask.null_count == 0
    assert mask.to_pylist() == [answer(condition, row) is True for row in rows]


def test_neither_does_not_pass_and_neither_does_its_opposite() -> None:
    batch = batch_of([dict.fromkeys(TYPES, None)])
    for text in ("number > 1", "not number > 1", "text != 'a'", "text not in ['a']", "number > 1 and text is missing"):
        assert mask_of(parse(text), batch).to_pylist() == [False], text
    for text in ("number > 1 or text is missing", "not (number > 1 and text is not missing)"):
        assert mask_of(parse(text), batch).to_pylist() == [True], text


@settings(max_examples=50, deadline=None)
@given(filters(TESTS), ROWS, st.data())
def test_what_is_there_and_cannot_be_read_is_not_missing(
    condition: RowFilter, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    broken = [data.draw(st.frozensets(st.sampled_from(sorted(TYPES)))) for _ in rows]
    known = [
        {name: None if name in which or cell != cell else cell for name, cell in row.items()}  # NaN differs from itself
        for row, which in zip(rows, broken, strict=True)
    ]
    where = {name: pa.array([name in which for which in broken], pa.bool_()) for name in TYPES}
    mask = mask_of(condition, batch_of(known), where)
    expected = [answer(condition, row, which) is True for row, which in zip(known, broken, strict=True)]
    assert mask.to_pylist() == expected


def test_a_cell_that_breaks_its_declaration_passes_no_test_for_missing() -> None:
    columns = {"left": Column(kind=ColumnKind.DATE), "age": Column(kind=ColumnKind.INTEGER)}
    cells = {"left": ["31/12/2020", "", "2020-12-31", "31/12/2020"], "age": ["1", "1", "1", "70"]}
    conformed = {name: conform(pa.array(cells[name]), column) for name, column in columns.items()}
    for text, expected in (
        ("left is missing", [False, True, False, False]),
        ("not (left is not missing)", [False, True, False, False]),
        ("left is not missing", [False, False, True, False]),
        ("left is missing or age >= 65", [False, True, False, True]),
    ):
        assert passing(parse(text), conformed).to_pylist() == expected, text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", 1),
        ("text", True),
        ("text", date(2024, 1, 1)),
        ("number", "1"),
        ("number", True),
        ("integer", "1"),
        ("integer", False),
        ("boolean", 1),
        ("boolean", "true"),
        ("date", "2024-01-01"),
        ("date", datetime(2024, 1, 1, tzinfo=UTC)),
        ("moment", date(2024, 1, 1)),
        ("moment", 0),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(column: str, value: Any) -> None:
    batch = batch_of([dict.fromkeys(TYPES, None)])
    for test in (
        Comparison(column, "==", value),
        OneOf(column, (value,)),
        All((Missing(column), Not(OneOf(column, (value,))))),
    ):
        with pytest.raises(RecordsError, match=f"compares column `{column}`, which holds .*, with a value of another"):
            mask_of(test, batch)


def test_a_million_rows_take_no_loop_of_python() -> None:
    import time

    rows = pa.record_batch({"number": pa.array(range(1_000_000), pa.float64()), "text": pa.array(["a"] * 1_000_000)})
    began = time.perf_counter()
    assert mask_of(parse("number >= 10 and text in ['a', 'b']"), rows).true_count == 999_990
    assert time.perf_counter() - began < 1
