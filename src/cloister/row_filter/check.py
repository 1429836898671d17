# SPDX-License-Identifier: Apache-2.0
"""Whether a row filter fits the columns that a silo document declares.

Rows are filtered by numbers, truth values, dates, moments and categories. Identifiers and free text would let a policy
name people, and what is in them could be learnt from how many rows pass; not even whether something is there is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime

from cloister.row_filter.model import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, Scalar
from cloister.row_filter.text import spelled_value
from cloister.silos import Column, ColumnKind


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0


_FITS: dict[ColumnKind, tuple[Callable[[Scalar], bool], str]] = {
    ColumnKind.CATEGORY: (lambda value: isinstance(value, str), "a text in quotes"),
    ColumnKind.NUMBER: (_is_number, "a number"),
    ColumnKind.INTEGER: (_is_whole, "a whole number"),
    ColumnKind.BOOLEAN: (lambda value: isinstance(value, bool), "`true` or `false`"),
    ColumnKind.DATE: (
        lambda value: isinstance(value, date) and not isinstance(value, datetime),
        "a date such as `2024-01-31`",
    ),
    ColumnKind.TIMESTAMP: (lambda value: isinstance(value, datetime), "a moment such as `2024-01-31T10:00:00Z`"),
}
"""What a value must be for a column of each kind by which rows may be filtered, and how that is said."""

_ORDERED = frozenset({ColumnKind.NUMBER, ColumnKind.INTEGER, ColumnKind.DATE, ColumnKind.TIMESTAMP})


def mistakes(condition: RowFilter, columns: Mapping[str, Column]) -> tuple[str, ...]:
    """What keeps ``condition`` from being applied to records with ``columns``, each in words, each once.

    Args:
        condition: the filter.
        columns: what the silo document declares, by name.

    Returns:
        One sentence for each mistake, in the order of the filter; empty where it fits.
    """
    return tuple(dict.fromkeys(_mistakes(condition, columns)))


def _mistakes(condition: RowFilter, columns: Mapping[str, Column]) -> Iterator[str]:
    match condition:
        case Not(operand):
            yield from _mistakes(operand, columns)
        case All(operands) | AnyOf(operands):
            for operand in operands:
                yield from _mistakes(operand, columns)
        case Comparison(name) | OneOf(name) | Missing(name):
            yield from _mistakes_of_test(condition, name, columns)


def _mistakes_of_test(test: Comparison | OneOf | Missing, name: str, columns: Mapping[str, Column]) -> Iterator[str]:
    column = columns.get(name)
    if column is None:
        yield f"there is no column `{name}`{_nearest(name, (each for each in columns if columns[each].kind in _FITS))}"
    elif column.kind not in _FITS:
        yield f"column `{name}` is of kind {column.kind.value}, and rows are not filtered by such"
    elif isinstance(test, Comparison):
        if test.operator not in ("==", "!=") and column.kind not in _ORDERED:
            yield f"column `{name}` is of kind {column.kind.value}, which has no order for `{test.operator}`"
        else:
            yield from _mistakes_of_value(name, column, test.value)
    elif isinstance(test, OneOf):
        for value in test.values:
            yield from _mistakes_of_value(name, column, value)


def _mistakes_of_value(name: str, column: Column, value: Scalar) -> Iterator[str]:
    fits, needed = _FITS[column.kind]
    shown = spelled_value(value)
    if not fits(value):
        yield f"column `{name}` is of kind {column.kind.value} and is compared with {needed}, not with `{shown}`"
    elif column.values and value not in column.values:
        yield f"column `{name}` has no value `{shown}`{_nearest(str(value), column.values)}"


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (nearest is `{near[0]}`)" if near else ""
