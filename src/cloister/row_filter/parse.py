# SPDX-License-Identifier: Apache-2.0
"""From text to a row filter.

``age >= 18 and ward in ['north', 'south'] and not (discharged is missing)``

1. A column stands on the left and constants on the right: text in single or double quotes, which are doubled inside;
   numbers; `true` and `false`; dates such as `2024-01-31`; moments such as `2024-01-31T10:00:00Z`, with their offset.
2. `not` binds closest, then `and`, then `or`. White space, line ends too, means nothing outside quotes.
3. Text, depth and number of constants are bounded, so that a filter costs little and can be read by people.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from cloister.row_filter.model import All, AnyOf, Comparison, Missing, Not, OneOf, Operator, RowFilter, Scalar

MAXIMUM_CHARACTERS = 2000
MAXIMUM_DEPTH = 20
MAXIMUM_TERMS = 200
"""Constants and tests for what is missing, together."""

_GRAMMAR = r"""
start: any
?any: all ("or" all)*
?all: one ("and" one)*
?one: "not" one -> negation
    | "(" any ")"
    | COLUMN OPERATOR value -> comparison
    | COLUMN "in" list -> one_of
    | COLUMN "not" "in" list -> none_of
    | COLUMN "is" "missing" -> missing
    | COLUMN "is" "not" "missing" -> present
list: "[" value ("," value)* "]"
value: TEXT -> text | NUMBER -> number | DATE -> date | MOMENT -> moment | "true" -> true | "false" -> false

OPERATOR: /(==|!=|<=|>=|<|>)(?![=<>!])/
COLUMN: /[A-Za-z][A-Za-z0-9_]{0,62}(?![A-Za-z0-9_])/
TEXT: /'([^'\x00-\x1f\x7f]|'')*'/ | /"([^"\x00-\x1f\x7f]|"")*"/
MOMENT.3: /[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})(?![\w.:+-])/
DATE.2: /[0-9]{4}-[0-9]{2}-[0-9]{2}(?![\w.:+-])/
NUMBER.1: /-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?(?![\w.:+-])/
%ignore /[ \t\r\n]+/
"""

_EXPECTED = (
    ({"COLUMN"}, "a column, `not` or `(`"),
    ({"OPERATOR"}, "a comparison such as `==`, `in [..]` or `is missing`"),
    ({"TEXT"}, "a value such as `18`, `'north'`, `true` or `2024-01-31`"),
    ({"COMMA"}, "`,` or `]`"),
    ({"LSQB"}, "`[`"),
    ({"MISSING"}, "`missing`"),
    ({"IN"}, "`in`"),
    ({"RPAR"}, "`and`, `or` or `)`"),
    ({"AND"}, "`and`, `or` or the end"),
)
"""What can stand in a place, by a terminal that can stand there; the first that fits is said."""

_WRITE = {"=": "==", "<>": "!=", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not"}
"""What other languages write, and what it is here."""

_QUOTED = re.compile(r"'([^']|'')*'|\"([^\"]|\"\")*\"")


def parse(text: str) -> RowFilter:
    """The filter that ``text`` says.

    Raises:
        ValueError: one sentence that says what is wrong, at which character, counted from 1.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise ValueError(f"is {len(text)} characters long, more than the {MAXIMUM_CHARACTERS} that a filter may have")
    try:
        # The builder stands in for Lark's own tree, which its types do not know.
        found = cast("RowFilter", _PARSER.parse(text))
    except UnexpectedInput as error:
        raise ValueError(_refusal(text, error)) from None
    except VisitError as error:
        raise ValueError(str(error.orig_exc)) from None
    _check_size(found)
    return found


def _check_size(condition: RowFilter) -> None:
    """Without recursion, because the depth is not known yet."""
    terms = 0
    left = [(condition, 1)]
    while left:
        each, depth = left.pop()
        if depth > MAXIMUM_DEPTH:
            raise ValueError(f"is nested more than {MAXIMUM_DEPTH} deep")
        match each:
            case Not(operand):
                left.append((operand, depth + 1))
            case All(operands) | AnyOf(operands):
                left += [(operand, depth + 1) for operand in operands]
            case OneOf(_, values):
                terms += len(values)
            case _:
                terms += 1
    if terms > MAXIMUM_TERMS:
        raise ValueError(f"has {terms} terms, more than the {MAXIMUM_TERMS} that a filter may have")


@v_args(inline=True)
class _Builder(Transformer[Token, RowFilter]):
    """Makes the tree bottom up, while the text is read."""

    def start(self, condition: RowFilter) -> RowFilter:
        return condition

    def any(self, *operands: RowFilter) -> RowFilter:
        return AnyOf(operands)

    def all(self, *operands: RowFilter) -> RowFilter:
        return All(operands)

    def negation(self, operand: RowFilter) -> RowFilter:
        return Not(operand)

    def comparison(self, column: Token, operator: Token, value: Scalar) -> RowFilter:
        written: Operator = operator.value
        return Comparison(str(column), written, value)

    def one_of(self, column: Token, values: tuple[Scalar, ...]) -> RowFilter:
        return OneOf(str(column), values)

    def none_of(self, column: Token, values: tuple[Scalar, ...]) -> RowFilter:
        return Not(OneOf(str(column), values))

    def missing(self, column: Token) -> RowFilter:
        return Missing(str(column))

    def present(self, column: Token) -> RowFilter:
        return Not(Missing(str(column)))

    def list(self, *values: Scalar) -> tuple[Scalar, ...]:
        return values

    def text(self, token: Token) -> str:
        quote = token[0]
        return token[1:-1].replace(quote * 2, quote)

    def number(self, token: Token) -> int | float:
        if re.fullmatch(r"-?[0-9]+", token):
            return int(token)
        value = float(token)
        if math.isinf(value):
            raise ValueError(f"at character {_at(token)}: the number is too large")
        return value

    def date(self, token: Token) -> date:
        return _read(date.fromisoformat, token, "date")

    def moment(self, token: Token) -> datetime:
        return _read(lambda text: datetime.fromisoformat(text).astimezone(UTC), token, "moment")

    def true(self) -> bool:
        return True

    def false(self) -> bool:
        return False


_Day = TypeVar("_Day", bound=date)


def _read(reader: Callable[[str], _Day], token: Token, what: str) -> _Day:
    try:
        return reader(str(token))
    except (ValueError, OverflowError):
        raise ValueError(f"at character {_at(token)}: `{token}` is no {what} of the calendar") from None


_PARSER = Lark(_GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False)


def _at(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _refusal(text: str, error: UnexpectedInput) -> str:
    is_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    at = len(text.rstrip()) if is_end else min(error.pos_in_stream or 0, len(text))
    found = _piece(text[at:]) if not is_end else ""
    if found in ("'", '"') and not _QUOTED.match(text, at):
        return f"at character {at + 1}: a quote is never closed"
    if found in ("'", '"') and not _QUOTED.match(text, at).group().isprintable():  # type: ignore[union-attr]
        return f"at character {at + 1}: a text in quotes holds a line end or another character that cannot be printed"
    if found == ")" and _possible(error) == {"$END"}:
        return f"at character {at + 1}: `)` closes nothing"
    shown = f"`{found}`" if found else "the end"
    sentence = f"at character {at + 1}: expected {_said(_possible(error))} and found {shown}"
    meant = found.lower() if found in ("AND", "OR", "NOT", "IN", "IS", "MISSING") else _WRITE.get(found)
    return f"{sentence} (write `{meant}`)" if meant else sentence


def _possible(error: UnexpectedInput) -> Collection[str]:
    state: Any = error.interactive_parser
    found: set[str] = state.accepts()
    return found


def _said(possible: Collection[str]) -> str:
    return next((words for terminals, words in _EXPECTED if terminals <= set(possible)), "the end")


def _piece(rest: str) -> str:
    """The word, number or sign at the beginning of ``rest``, cut and clean enough to be shown."""
    match: Any = re.match(r"[\w.:+-]+|[=<>!&|]+|[ -~]", rest)
    return match.group()[:40] if match else rest[:1].encode("unicode_escape").decode()
