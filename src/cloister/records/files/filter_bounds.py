# SPDX-License-Identifier: Apache-2.0
"""Whether any of many rows can pass a row filter, told from the smallest and the largest cell of their columns.

A row is left out only where it cannot pass whatever its cells are between those bounds. Any cell may turn out to be
missing, because it breaks what the silo document declares; one that is missing stays so. So each part of a condition is
asked two things: can it be true, and can it be false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from cloister.row_filter import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, Scalar

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}


@dataclass(frozen=True)
class Bounds:
    """What is known of a column's cells.

    Attributes:
        least: none of them is below.
        greatest: none of them is above.
        nothing: there is nothing in any of them; then there are no bounds.
    """

    least: Scalar | None = None
    greatest: Scalar | None = None
    nothing: bool = False


def can_pass(condition: RowFilter, bounds: Mapping[str, Bounds]) -> bool:
    """Whether a row whose cells lie within ``bounds`` can pass ``condition``.

    Args:
        condition: the filter.
        bounds: by column; a column of which nothing is known is left out.
    """
    return _possible(condition, bounds)[0]


def _possible(condition: RowFilter, bounds: Mapping[str, Bounds]) -> tuple[bool, bool]:
    """Whether ``condition`` can be true, and whether it can be false."""
    match condition:
        case Missing(column):
            return True, not (column in bounds and bounds[column].nothing)
        case Comparison(column, operator, value):
            return _possible_of_value(operator, value, bounds.get(column))
        case OneOf(column, values):
            each = [_possible_of_value("==", value, bounds.get(column)) for value in values]
            return any(true for true, _ in each), all(false for _, false in each)
        case Not(operand):
            true, false = _possible(operand, bounds)
            return false, true
        case All(operands) | AnyOf(operands):
            each = [_possible(operand, bounds) for operand in operands]
            trues, falses = [true for true, _ in each], [false for _, false in each]
            return (all(trues), any(falses)) if isinstance(condition, All) else (any(trues), all(falses))


def _possible_of_value(operator: str, value: Scalar, bounds: Bounds | None) -> tuple[bool, bool]:
    if bounds is None:
        return True, True
    if bounds.nothing:
        return False, False
    if not (_alike(value, bounds.least) and _alike(value, bounds.greatest)):
        return True, True
    return (
        _holds_somewhere(operator, value, bounds.least, bounds.greatest),
        _holds_somewhere(_OPPOSITE[operator], value, bounds.least, bounds.greatest),
    )


def _holds_somewhere(operator: str, value: Any, least: Any, greatest: Any) -> bool:
    match operator:
        case "<":
            found = least < value
        case "<=":
            found = least <= value
        case ">":
            found = greatest > value
        case ">=":
            found = greatest >= value
        case "==":
            found = least <= value <= greatest
        case _:
            found = not least == value == greatest
    return bool(found)


def _alike(value: Scalar, bound: Scalar | None) -> bool:
    return bound is not None and _sort(value) == _sort(bound)


def _sort(value: Scalar) -> str:
    """Python takes a truth value for a number, and a moment for a date."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, datetime):
        return "moment"
    return "date" if isinstance(value, date) else "text"
