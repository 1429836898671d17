# SPDX-License-Identifier: Apache-2.0
"""From a store's raw cells to the types that the silo document declares, and which cells break the declaration.

1. A cell that cannot be read as its column's kind, lies outside its range or is not among its values is invalid. What
   is done about it is the view's to say; here it becomes null.
2. Nothing is guessed. Numbers are written as JSON writes them, with a sign before them at most; dates and moments as
   ISO 8601, of the years 1 to 9999; a moment without an offset is taken as UTC, and where a date is declared its day
   counts; truth values are `true`, `false`, `1`, `0`, `yes`, `no`, in any case.
3. An empty text, a number that is none (NaN), and a word that the dataset lists under `missing` are missing, which is
   another thing than invalid. Free text is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloister.silos import Column, ColumnKind

MOMENT = pa.timestamp("us", tz="UTC")

TYPES: dict[ColumnKind, pa.DataType] = {
    ColumnKind.IDENTIFIER: pa.string(),
    ColumnKind.TEXT: pa.string(),
    ColumnKind.CATEGORY: pa.string(),
    ColumnKind.NUMBER: pa.float64(),
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.DATE: pa.date32(),
    ColumnKind.TIMESTAMP: MOMENT,
    ColumnKind.SPANS: pa.string(),
    ColumnKind.MESSAGES: pa.string(),
    ColumnKind.IMAGE: pa.string(),
}
"""Arrow's type of a column's cells, by its kind."""

_FREE = frozenset({ColumnKind.TEXT, ColumnKind.MESSAGES})
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_INTEGER = r"^[+-]?[0-9]{1,18}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.+Z-]+)?\Z"
_FIRST_DAY, _BEHIND_LAST_DAY = -719_162, 2_932_897  # 0001-01-01 and the day behind 9999-12-31, from 1970-01-01
_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6}  # nanoseconds do not reach so far
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Conformed:
    """One column's cells, typed.

    Attributes:
        cells: of the type in `TYPES`; null where missing or invalid.
        invalid: true where a cell breaks the declaration; never null.
    """

    cells: pa.Array
    invalid: pa.BooleanArray


def conform(raw: pa.Array, column: Column, missing: tuple[str, ...] = ()) -> Conformed:
    """``raw`` as ``column`` declares it.

    Args:
        raw: text or Arrow's scalars, as a store gives them.
        column: the declaration.
        missing: words that stand for nothing.
    """
    present = raw if column.kind in _FREE else _without_words(raw, missing)
    cells = _READERS[column.kind](present)
    if column.values:
        cells = _where(pc.is_in(cells, value_set=pa.array(column.values, pa.string())), cells)
    for bound, within in ((column.minimum, pc.greater_equal), (column.maximum, pc.less_equal)):
        if bound is not None:
            # Beyond 2^53 a whole number is compared as the nearest float; without a cast Arrow would refuse the batch.
            cells = _where(within(cells.cast(pa.float64(), safe=False), pa.scalar(bound, pa.float64())), cells)
    return Conformed(cells, pc.and_(pc.is_valid(present), pc.is_null(cells)))


def _without_words(raw: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    """``raw`` with null for what says that there is nothing."""
    kind = raw.type
    if pa.types.is_floating(kind):
        return _where(pc.invert(pc.is_nan(raw)), raw)
    if not pa.types.is_string(kind):
        return raw
    return _where(pc.invert(pc.is_in(raw, value_set=pa.array(["", *missing], pa.string()))), raw)


def _where(kept: pa.BooleanArray, cells: pa.Array) -> pa.Array:
    return pc.if_else(kept, cells, pa.scalar(None, cells.type))


def _as_text(raw: pa.Array) -> pa.Array:
    if pa.types.is_floating(raw.type):
        return pa.array([None if cell is None else _shortest(cell) for cell in raw.to_pylist()], pa.string())
    return raw.cast(pa.string())


def _shortest(value: float) -> str:
    """Whole numbers without a fraction: a column of whole numbers in which one is missing often arrives as floats."""
    return str(int(value)) if value.is_integer() else repr(value)


def _as_number(raw: pa.Array) -> pa.Array:
    if pa.types.is_string(raw.type):
        raw = _where(pc.match_substring_regex(raw, _NUMBER), raw)
        # Arrow's reader knows no plus sign.
        raw = pc.replace_substring_regex(raw, r"^\+", "")
    elif not _is_number(raw.type):
        return pa.nulls(len(raw), pa.float64())
    numbers = raw.cast(pa.float64(), safe=False)
    return _where(pc.is_finite(numbers), numbers)


def _as_integer(raw: pa.Array) -> pa.Array:
    kind = raw.type
    if pa.types.is_string(kind):
        raw = pc.replace_substring_regex(_where(pc.match_substring_regex(raw, _INTEGER), raw), r"^\+", "")
        return raw.cast(pa.int64())
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return raw.cast(pa.int64())
    numbers = _as_number(raw)
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
    return _where(whole, numbers).cast(pa.int64())


def _as_truth(raw: pa.Array) -> pa.Array:
    if pa.types.is_boolean(raw.type):
        return raw
    words = pc.utf8_lower(_as_text(raw))
    true, false = (pc.is_in(words, value_set=pa.array(each, pa.string())) for each in (_TRUE, _FALSE))
    return pc.if_else(true, True, pc.if_else(false, False, pa.scalar(None, pa.bool_())))


def _as_date(raw: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type):
        known = _with_a_year(raw)
        if pa.types.is_timestamp(known.type) and known.type.tz is not None:
            known = known.cast(pa.timestamp(known.type.unit, "UTC"))  # else the day would be that of the zone
        return known.cast(pa.date32(), safe=False)
    return _read_each(raw, pa.date32(), _day, _MOMENT)


def _as_moment(raw: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type):
        raw = _with_a_year(raw)
        plain = raw.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(raw.type) else raw
        return plain.cast(pa.timestamp("us", plain.type.tz), safe=False).cast(MOMENT)
    return _read_each(raw, MOMENT, _moment, _MOMENT)


def _with_a_year(raw: pa.Array) -> pa.Array:
    """``raw`` with null for what has no year from 1 to 9999, and would be another moment once in microseconds."""
    unit = raw.type.unit if pa.types.is_timestamp(raw.type) else "ms"
    per_day = 1 if pa.types.is_date32(raw.type) else _PER_DAY.get(unit)
    if per_day is None:
        return raw
    numbers = raw.view(pa.int32() if per_day == 1 else pa.int64()).cast(pa.int64())
    first, behind = pa.scalar(_FIRST_DAY * per_day, pa.int64()), pa.scalar(_BEHIND_LAST_DAY * per_day, pa.int64())
    return _where(pc.and_(pc.greater_equal(numbers, first), pc.less(numbers, behind)), raw)


def _day(text: str) -> date:
    """The day in UTC, of a moment too: stores give moments as text where a few of them are none of Python's."""
    return _moment(text).date()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _read_each(raw: pa.Array, kind: pa.DataType, read: Callable[[str], Any], form: str) -> pa.Array:
    """Cells read one by one, each different one once; Arrow's own readers take 31 February for 2 March."""
    if not pa.types.is_string(raw.type):
        return pa.nulls(len(raw), kind)
    words = raw.dictionary_encode()
    values = pa.array([_read_one(word, read, form) for word in words.dictionary.to_pylist()], kind)
    return values.take(words.indices)


def _read_one(word: str, read: Callable[[str], Any], form: str) -> Any:
    try:
        return read(word) if re.match(form, word) else None
    except (ValueError, OverflowError):
        return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


_READERS: dict[ColumnKind, Callable[[pa.Array], pa.Array]] = {
    ColumnKind.IDENTIFIER: _as_text,
    ColumnKind.TEXT: _as_text,
    ColumnKind.CATEGORY: _as_text,
    ColumnKind.NUMBER: _as_number,
    ColumnKind.INTEGER: _as_integer,
    ColumnKind.BOOLEAN: _as_truth,
    ColumnKind.DATE: _as_date,
    ColumnKind.TIMESTAMP: _as_moment,
    ColumnKind.SPANS: _as_text,
    ColumnKind.MESSAGES: _as_text,
    ColumnKind.IMAGE: _as_text,
}
