# SPDX-License-Identifier: Apache-2.0
"""A row filter as a WHERE clause, for every database that SQLAlchemy speaks to.

1. The clause holds for every row that the filter lets through, and perhaps for more: what a store gives is filtered
   again. So where a database might see a comparison otherwise than `cloister.records.filter_arrow` sees it on typed
   cells, the clause says nothing of it.
2. A cell that is there may still turn out to be missing, because it breaks what the silo document declares. Each part
   of a filter is asked what must hold of a row where it is true, and where it is false; no `NOT` is ever written, so
   the database's own answer to nothing is never turned round.
3. Values are bound, never written into the statement. Text is compared byte by byte, and only for being the same: the
   order of text depends on the database.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, Scalar
from cloister.silos import Column, ColumnKind

Clause = sa.ColumnElement[bool]


class Sort(StrEnum):
    """What a database holds in a column, as far as its comparisons are known to be ours."""

    TEXT = "text"
    WHOLE = "whole"
    FLOAT = "float"
    DECIMAL = "decimal"
    TRUTH = "truth"
    DATE = "date"
    MOMENT = "moment"  # in UTC
    ZONELESS = "zoneless"  # a moment that is taken as UTC
    DATE_IN_TEXT = "date in text"


@dataclass(frozen=True)
class SqlColumn:
    """A column of a table, as a filter may look at it.

    Attributes:
        compared: the cell, so that it compares as what is read from it; text by its bytes.
        sort: what it is; None where nothing is known of its comparisons.
        unless: rows of which the comparison says nothing, such as those where an SQLite cell is of another type.
    """

    compared: sa.ColumnElement[Any]
    sort: Sort | None
    unless: Clause | None = None


_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda cell, value: cell == value,
    "!=": lambda cell, value: cell != value,
    "<": lambda cell, value: cell < value,
    "<=": lambda cell, value: cell <= value,
    ">": lambda cell, value: cell > value,
    ">=": lambda cell, value: cell >= value,
}
_NUMBERS = frozenset({ColumnKind.NUMBER, ColumnKind.INTEGER})
_FITTING: dict[Sort, frozenset[ColumnKind]] = {
    Sort.TEXT: frozenset({ColumnKind.CATEGORY}),
    Sort.WHOLE: _NUMBERS,
    Sort.FLOAT: _NUMBERS,
    Sort.DECIMAL: _NUMBERS,
    Sort.TRUTH: frozenset({ColumnKind.BOOLEAN}),
    Sort.DATE: frozenset({ColumnKind.DATE}),
    Sort.MOMENT: frozenset({ColumnKind.TIMESTAMP}),
    Sort.ZONELESS: frozenset({ColumnKind.TIMESTAMP}),
    Sort.DATE_IN_TEXT: frozenset({ColumnKind.DATE}),
}
"""Kinds that a cell of each sort is read as without becoming another value."""

_EXACT = 2**53  # up to here whole numbers and floats are the same numbers


class WhereClause:
    """Makes clauses for one table.

    Args:
        columns: of the table, by name.
        declared: what the silo document says of them.
        only_ascii: whether text beyond ASCII may not be expressible in the database's encoding.
    """

    def __init__(
        self, columns: Mapping[str, SqlColumn], declared: Mapping[str, Column], *, only_ascii: bool = False
    ) -> None:
        self._columns = columns
        self._declared = declared
        self._only_ascii = only_ascii

    def of(self, condition: RowFilter) -> Clause | None:
        """What holds for every row that ``condition`` lets through; None where nothing is known."""
        return self._where(condition, wanted=True)

    def _where(self, condition: RowFilter, *, wanted: bool) -> Clause | None:
        """What holds for every row for which ``condition`` is true, or false if that is ``wanted``."""
        match condition:
            case Not(operand):
                return self._where(operand, wanted=not wanted)
            case All(operands) | AnyOf(operands):
                parts = [self._where(each, wanted=wanted) for each in operands]
                return _all(parts) if isinstance(condition, All) == wanted else _any(parts)
            case Missing(column):
                return self._missing(column) if wanted else self._present(column)
            case Comparison(column, operator, value):
                return self._tested(column, [(operator if wanted else _OPPOSITE[operator], value)], _all)
            case OneOf(column, values):
                operator, join = ("==", _any) if wanted else ("!=", _all)
                return self._tested(column, [(operator, value) for value in values], join)

    def _present(self, name: str) -> Clause | None:
        column = self._columns.get(name)
        return None if column is None else column.compared.is_not(None)

    def _missing(self, name: str) -> Clause | None:
        """Only of cells that cannot break what is declared."""
        column, declared = self._columns.get(name), self._declared.get(name)
        if column is None or declared is None or column.unless is not None:
            return None
        if (column.sort, declared.kind) not in ((Sort.WHOLE, ColumnKind.INTEGER), (Sort.TRUTH, ColumnKind.BOOLEAN)):
            return None
        unbounded = declared.minimum is None and declared.maximum is None
        return column.compared.is_(None) if unbounded else None

    def _tested(
        self, name: str, tests: list[tuple[str, Scalar]], join: Callable[[list[Clause | None]], Clause | None]
    ) -> Clause | None:
        column, declared = self._columns.get(name), self._declared.get(name)
        if column is None or column.sort is None or declared is None or declared.kind not in _FITTING[column.sort]:
            return None
        clause = join([self._compared(column.compared, column.sort, *test) for test in tests])
        if clause is None or column.unless is None:
            return clause
        return sa.or_(column.unless, clause)

    def _compared(self, cell: Any, sort: Sort, operator: str, value: Scalar) -> Clause | None:
        if sort is Sort.DECIMAL:
            return _beside_decimals(cell, operator, value)
        bound = self._bound(sort, value)
        if bound is None or (sort in (Sort.TEXT, Sort.TRUTH) and operator not in ("==", "!=")):
            return None
        clause: Clause = _OPERATORS[operator](cell, bound)
        return clause

    def _bound(self, sort: Sort, value: Scalar) -> sa.BindParameter[Any] | None:  # noqa: PLR0911 - one for each sort
        is_moment = isinstance(value, datetime)
        if sort is Sort.TEXT and isinstance(value, str):
            sayable = value.isprintable() and (value.isascii() or not self._only_ascii)
            return sa.literal(value, sa.Text()) if sayable else None
        if sort in (Sort.WHOLE, Sort.FLOAT) and (number := _number(value)) is not None:
            return sa.literal(number, sa.BigInteger() if isinstance(number, int) else sa.Double())
        if sort is Sort.TRUTH and isinstance(value, bool):
            return sa.literal(value, sa.Boolean())
        if sort is Sort.DATE and isinstance(value, date) and not is_moment:
            return sa.literal(value, sa.Date())
        if sort is Sort.DATE_IN_TEXT and isinstance(value, date) and not is_moment:
            return sa.literal(value.isoformat(), sa.Text())
        if sort in (Sort.MOMENT, Sort.ZONELESS) and isinstance(value, datetime):
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            zoned = sort is Sort.MOMENT
            return sa.literal(moment if zoned else moment.replace(tzinfo=None), sa.DateTime(timezone=zoned))
        return None


def _number(value: Scalar) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < _EXACT else None  # type: ignore[arg-type, return-value]


def _beside_decimals(cell: Any, operator: str, value: Scalar) -> Clause | None:
    """A decimal becomes the nearest float before it is compared, so it is looked for between the floats beside it."""
    number = _number(value)
    if number is None or operator == "!=":
        return None
    below, above = (
        sa.literal(Decimal(math.nextafter(float(number), towards)), sa.Numeric()) for towards in (-math.inf, math.inf)
    )
    parts: list[Clause | None] = []
    if operator in ("==", ">", ">="):
        parts.append(cell >= below)
    if operator in ("==", "<", "<="):
        parts.append(cell <= above)
    return _all(parts)


def _all(parts: Iterable[Clause | None]) -> Clause | None:
    known = [part for part in parts if part is not None]
    return sa.and_(*known) if known else None


def _any(parts: Iterable[Clause | None]) -> Clause | None:
    known: list[Clause] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return sa.or_(*known) if known else None
