# SPDX-License-Identifier: Apache-2.0
"""A row filter, asked of a batch of typed cells at once.

1. Cells have the types of `cloister.records.schema`, and a value is of its column's kind. What does not fit is refused
   and not guessed at: a condition that means nothing lets no row through.
2. Numbers are compared as the numbers they are. Where a column cannot hold a value, such as 2.5 among whole numbers or
   2^53 + 1 among floats, its cells are compared with the nearest below that it can hold, and equal to none.
3. A number that is none (NaN) is missing.
4. A cell that breaks what its column declares is not missing: something is there, and nobody knows what it says. No
   test of it is true or false, so that `opted_out is missing` lets no row through in which a date is misspelt.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.schema import Conformed
from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, Scalar, columns_of

_COMPARE: dict[str, Callable[..., pa.BooleanArray]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_BETWEEN = {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}
"""What an operator becomes where the value lies between two that a cell can be, and the lower one stands for it."""

_WHOLE = (-(2**63), 2**63 - 1)


def mask_of(
    condition: RowFilter, batch: pa.RecordBatch, broken: Mapping[str, pa.BooleanArray] | None = None
) -> pa.BooleanArray:
    """Which rows of ``batch`` ``condition`` lets through: true or false for each, never null.

    Args:
        condition: the filter; each column that it looks at is in ``batch``.
        batch: typed cells.
        broken: by column, which cells are null because they break what it declares; none where not given.

    Raises:
        RecordsError: where a column is compared with a value of another type.
    """
    return pc.fill_null(_answer(condition, batch, broken or {}), False)


def passing(condition: RowFilter, conformed: Mapping[str, Conformed]) -> pa.BooleanArray:
    """Which rows ``condition`` lets through, as `mask_of` says.

    Args:
        condition: the filter.
        conformed: the columns that it looks at, and perhaps others.
    """
    columns = {name: conformed[name] for name in columns_of(condition)}
    batch = pa.RecordBatch.from_pydict({name: each.cells for name, each in columns.items()})
    return mask_of(condition, batch, {name: each.invalid for name, each in columns.items()})


def _answer(condition: RowFilter, batch: pa.RecordBatch, broken: Mapping[str, pa.BooleanArray]) -> pa.BooleanArray:
    """True, false or, where it is neither, null."""
    match condition:
        case Missing(column):
            missing = pc.invert(pc.is_valid(_cells(batch, column)))
            return pc.if_else(broken[column], pa.scalar(None, pa.bool_()), missing) if column in broken else missing
        case Comparison(column, operator, value):
            return _compared(_cells(batch, column), operator, value, column)
        case OneOf(column, values):
            return _one_of(_cells(batch, column), values, column)
        case Not(operand):
            return pc.invert(_answer(operand, batch, broken))
        case All(operands):
            return reduce(pc.and_kleene, _answers(operands, batch, broken))
        case AnyOf(operands):
            return reduce(pc.or_kleene, _answers(operands, batch, broken))


def _answers(
    operands: tuple[RowFilter, ...], batch: pa.RecordBatch, broken: Mapping[str, pa.BooleanArray]
) -> Iterator[pa.BooleanArray]:
    return (_answer(operand, batch, broken) for operand in operands)


def _cells(batch: pa.RecordBatch, column: str) -> pa.Array:
    cells = batch.column(column)
    if not pa.types.is_floating(cells.type):
        return cells
    # Adding nothing turns a negative zero into zero, which `is_in` would tell apart.
    return pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), pc.add(cells, pa.scalar(0.0, cells.type)))


def _compared(cells: pa.Array, operator: str, value: Scalar, column: str) -> pa.BooleanArray:
    held, exact = _held(cells.type, value, column)
    if held is None:
        return _everywhere(operator in ("!=", ">", ">="), cells)
    if not exact:
        if operator in ("==", "!="):
            return _everywhere(operator == "!=", cells)
        operator = _BETWEEN[operator]
    return _COMPARE[operator](cells, pa.scalar(held, cells.type))


def _one_of(cells: pa.Array, values: tuple[Scalar, ...], column: str) -> pa.BooleanArray:
    possible = [held for held, exact in (_held(cells.type, value, column) for value in values) if exact]
    found = pc.is_in(cells, value_set=pa.array(possible, cells.type))
    return pc.if_else(pc.is_valid(cells), found, pa.scalar(None, pa.bool_()))


def _everywhere(answer: bool, cells: pa.Array) -> pa.BooleanArray:
    return pc.if_else(pc.is_valid(cells), answer, pa.scalar(None, pa.bool_()))


def _held(kind: pa.DataType, value: Scalar, column: str) -> tuple[Any, bool]:
    """The greatest value of type ``kind`` that is at most ``value``, None below all of them, and whether they equal."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and pa.types.is_integer(kind):
        return _held_whole(value)  # type: ignore[arg-type]
    if is_number and pa.types.is_floating(kind):
        return _held_float(value)  # type: ignore[arg-type]
    if isinstance(value, datetime):
        fits = pa.types.is_timestamp(kind)
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    elif isinstance(value, bool):
        fits = pa.types.is_boolean(kind)
    elif isinstance(value, date):
        fits = pa.types.is_date(kind)
    else:
        fits = isinstance(value, str) and pa.types.is_string(kind)
    if not fits:
        raise RecordsError(
            f"the row filter compares column `{column}`, which holds `{kind}`, with a value of another type",
            hint="the policy and the silo document must agree on what the column holds",
        )
    return value, True


def _held_whole(value: float) -> tuple[int | None, bool]:
    if isinstance(value, float) and math.isinf(value):
        return (_WHOLE[1], False) if value > 0 else (None, False)
    below = math.floor(value)
    if below < _WHOLE[0]:
        return None, False
    return min(below, _WHOLE[1]), below == value and below <= _WHOLE[1]


def _held_float(value: float) -> tuple[float, bool]:
    try:
        near = float(value)
    except OverflowError:
        return (sys.float_info.max if value > 0 else -math.inf), False
    if near > value:
        near = math.nextafter(near, -math.inf)
    return near + 0.0, near == value
