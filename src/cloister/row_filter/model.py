# SPDX-License-Identifier: Apache-2.0
"""A condition on one row, as a frozen tree.

1. A condition is true, false or, where a cell is missing, neither. `Not`, `All` and `AnyOf` follow SQL's three-valued
   logic (ISO/IEC 9075-2, 8.21), which is Kleene's. A row passes where the whole is true.
2. `Missing` alone is never neither.
3. There are columns and constants, and nothing that could be called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Scalar = str | int | float | bool | date | datetime
Operator = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Comparison:
    """``column operator value``."""

    column: str
    operator: Operator
    value: Scalar


@dataclass(frozen=True)
class OneOf:
    """The cell is one of ``values``, of which there is at least one."""

    column: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Missing:
    """There is nothing in the cell."""

    column: str


@dataclass(frozen=True)
class Not:
    """The opposite of ``operand``."""

    operand: RowFilter


@dataclass(frozen=True)
class All:
    """Every one of ``operands``, of which there are two or more."""

    operands: tuple[RowFilter, ...]


@dataclass(frozen=True)
class AnyOf:
    """One or more of ``operands``, of which there are two or more."""

    operands: tuple[RowFilter, ...]


RowFilter = Comparison | OneOf | Missing | Not | All | AnyOf


def columns_of(condition: RowFilter) -> tuple[str, ...]:
    """Names of the columns that ``condition`` looks at, sorted, each once."""
    return tuple(sorted(set(_columns(condition))))


def _columns(condition: RowFilter) -> Iterator[str]:
    match condition:
        case Comparison(column) | OneOf(column) | Missing(column):
            yield column
        case Not(operand):
            yield from _columns(operand)
        case All(operands) | AnyOf(operands):
            for operand in operands:
                yield from _columns(operand)


def all_of(conditions: Iterable[RowFilter]) -> RowFilter | None:
    """One condition that lets a row through where every one of ``conditions`` does; None where there is none."""
    every = tuple(conditions)
    if not every:
        return None
    return every[0] if len(every) == 1 else All(every)
