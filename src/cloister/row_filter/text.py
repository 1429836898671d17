# SPDX-License-Identifier: Apache-2.0
"""A row filter as text: as `cloister.row_filter.parse` reads it, and as people say it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from cloister.row_filter.model import All, AnyOf, Comparison, Missing, Not, OneOf, RowFilter, Scalar

Test = Comparison | OneOf | Missing

_NUMBERS = {"==": "is", "!=": "is not", "<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least"}
_TIMES = {**_NUMBERS, "<": "is before", "<=": "is not after", ">": "is after", ">=": "is not before"}


def spelled(condition: RowFilter) -> str:
    """``condition`` in the language of `cloister.row_filter.parse`, which reads it back as it was."""
    return _written(condition, _spelled_test)


def in_words(condition: RowFilter) -> str:
    """``condition`` as part of a sentence, columns and values in backticks."""
    return _written(condition, _test_in_words)


def _written(condition: RowFilter, write: Callable[[Test, bool], str]) -> str:
    """What is around the tests is written alike; ``write`` writes a test, or its opposite."""
    match condition:
        case All(operands) | AnyOf(operands):
            parts = (_written(each, write) for each in operands)
            enclosed = (
                f"({part})" if isinstance(each, All | AnyOf) else part
                for each, part in zip(operands, parts, strict=True)
            )
            return (" and " if isinstance(condition, All) else " or ").join(enclosed)
        case Not(OneOf() | Missing() as test):
            return write(test, True)
        case Not(operand):
            return f"not ({_written(operand, write)})"
        case test:
            return write(test, False)


def _spelled_test(test: Test, opposite: bool) -> str:
    no = "not " if opposite else ""
    match test:
        case Comparison(column, operator, value):
            return f"{column} {operator} {spelled_value(value)}"
        case OneOf(column, values):
            return f"{column} {no}in [{', '.join(map(spelled_value, values))}]"
        case Missing(column):
            return f"{column} is {no}missing"


def _test_in_words(test: Test, opposite: bool) -> str:
    no = " not" if opposite else ""
    match test:
        case Comparison(column, operator, value):
            words = _TIMES if isinstance(value, date) else _NUMBERS
            return f"`{column}` {words[operator]} {_shown(value)}"
        case OneOf(column, (value,)):
            return f"`{column}` is{no} {_shown(value)}"
        case OneOf(column, values):
            return f"`{column}` is {'none' if opposite else 'one'} of {', '.join(map(_shown, values))}"
        case Missing(column):
            return f"`{column}` is{no} missing"


def spelled_value(value: Scalar) -> str:
    """``value`` as a filter writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return repr(value)


def _shown(value: Scalar) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return spelled_value(value)
    return f"`{value if isinstance(value, str) else spelled_value(value)}`"
