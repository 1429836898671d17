# SPDX-License-Identifier: Apache-2.0
"""Row filters as WHERE clauses: what is said, what is left unsaid, and that values are bound."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from cloister.records.sql.pushdown import Sort, SqlColumn, WhereClause
from cloister.row_filter import Comparison, OneOf, parse
from cloister.silos import Column, ColumnKind

_KINDS = {
    "c": (Sort.TEXT, {"kind": "category", "values": ["a", "b", "'; DROP TABLE notes; --", "пора"]}),
    "n": (Sort.FLOAT, {"kind": "number"}),
    "e": (Sort.DECIMAL, {"kind": "number"}),
    "i": (Sort.WHOLE, {"kind": "integer"}),
    "r": (Sort.WHOLE, {"kind": "integer", "minimum": 0}),
    "b": (Sort.TRUTH, {"kind": "boolean"}),
    "d": (Sort.DATE, {"kind": "date"}),
    "t": (Sort.MOMENT, {"kind": "timestamp"}),
    "z": (Sort.ZONELESS, {"kind": "timestamp"}),
    "x": (None, {"kind": "number"}),  # of a type that nothing is known of
    "m": (Sort.TEXT, {"kind": "number"}),  # numbers in a column of texts
    "f": (Sort.TEXT, {"kind": "text"}),
}
DECLARED = {name: Column.model_validate(said, strict=False) for name, (_, said) in _KINDS.items()}
COLUMNS = {name: SqlColumn(sa.column(name), sort) for name, (sort, _) in _KINDS.items()}


def said(condition: Any, *, only_ascii: bool = False) -> tuple[str, list[Any]] | None:
    if isinstance(condition, str):
        condition = parse(condition)
    clause = WhereClause(COLUMNS, DECLARED, only_ascii=only_ascii).of(condition)
    if clause is None:
        return None
    compiled = clause.compile(dialect=DefaultDialect(paramstyle="named"))
    return str(compiled), list(compiled.params.values())


@pytest.mark.parametrize(
    ("condition", "clause", "values"),
    [
        ("c == 'a'", "c = :param_1", ["a"]),
        ("not c == 'a'", "c != :param_1", ["a"]),
        ("c in ['a', 'b']", "c = :param_1 OR c = :param_2", ["a", "b"]),
        ("c not in ['a', 'b']", "c != :param_1 AND c != :param_2", ["a", "b"]),
        ("n <= 1.5", "n <= :param_1", [1.5]),
        ("not n <= 1.5", "n > :param_1", [1.5]),
        ("i > 3", "i > :param_1", [3]),
        ("b == true", "b = :param_1", [True]),
        ("d >= 2024-02-29", "d >= :param_1", [date(2024, 2, 29)]),
        ("t < 2024-02-29T01:00:00Z", "t < :param_1", [datetime(2024, 2, 29, 1, tzinfo=UTC)]),
        ("z < 2024-02-29T01:00:00Z", "z < :param_1", [datetime(2024, 2, 29, 1)]),
        ("n is not missing", "n IS NOT NULL", []),
        ("x is not missing", "x IS NOT NULL", []),
        ("i is missing", "i IS NULL", []),
        ("not (i is not missing)", "i IS NULL", []),
        ("c == 'a' and i > 3", "c = :param_1 AND i > :param_2", ["a", 3]),
        ("c == 'a' or i > 3", "c = :param_1 OR i > :param_2", ["a", 3]),
        ("not (c == 'a' or i > 3)", "c != :param_1 AND i <= :param_2", ["a", 3]),
        ("not (c == 'a' and i > 3)", "c != :param_1 OR i <= :param_2", ["a", 3]),
        ("c == 'a' and x > 3", "c = :param_1", ["a"]),
        ("c == 'a' and (i > 3 or x > 3)", "c = :param_1", ["a"]),
    ],
)
def test_what_is_said(condition: str, clause: str, values: list[Any]) -> None:
    assert said(condition) is not None
    text, bound = said(condition) or ("", [])
    assert text == clause
    assert bound == values


@pytest.mark.parametrize(
    "condition",
    [
        "x > 3",
        "m > 3",
        "f == 'a'",
        "nowhere == 'a'",
        "c == 'a' or x > 3",
        "not (c == 'a' and x > 3)",
        "c is missing",  # a value that is not among those declared is missing, too
        "n is missing",
        "r is missing",
        "b is missing or c is missing",
        f"n > {2**53}",
        f"i in [1, {-(2**53)}]",
        Comparison("c", "<", "b"),  # the order of text is the database's
        Comparison("c", "==", "a\0"),
        Comparison("c", "==", 1),
        Comparison("i", "==", True),
        Comparison("i", "==", "1"),
        Comparison("b", "==", 1),
        Comparison("b", "<", True),
        Comparison("d", "<", datetime(2024, 1, 1, tzinfo=UTC)),
        Comparison("t", "<", date(2024, 1, 1)),
        Comparison("e", "!=", 1.5),
    ],
)
def test_what_is_left_unsaid(condition: Any) -> None:
    assert said(condition) is None


def test_values_are_bound_and_never_part_of_the_statement() -> None:
    text, bound = said(Comparison("c", "==", "'; DROP TABLE notes; --")) or ("", [])
    assert "DROP" not in text
    assert bound == ["'; DROP TABLE notes; --"]


def test_text_that_an_encoding_may_not_have() -> None:
    assert said("c == 'пора'") is not None
    assert said("c == 'пора'", only_ascii=True) is None
    assert said(OneOf("c", ("a", "пора")), only_ascii=True) is None
    assert said("c == 'a'", only_ascii=True) is not None


def test_decimals_are_looked_for_between_the_floats_beside_the_value() -> None:
    _, (below, above) = said("e == 0.1") or ("", [0, 0])
    assert below < Decimal("0.1") < above
    assert (float(below), float(above)) == (0.09999999999999999, 0.10000000000000002)
    assert (said("e > 0.1") or ("", []))[1] == [below]
    assert (said("e <= 0.1") or ("", []))[1] == [above]


def test_moments_are_asked_for_in_utc() -> None:
    moment = datetime(2024, 2, 29, 1, tzinfo=timezone(timedelta(hours=2)))
    assert (said(Comparison("z", "<", moment)) or ("", []))[1] == [datetime(2024, 2, 28, 23)]
    naive = datetime(2024, 2, 29, 1)
    assert (said(Comparison("t", "<", naive)) or ("", []))[1] == [naive.replace(tzinfo=UTC)]


def test_rows_of_which_nothing_is_known_are_given() -> None:
    doubtful = SqlColumn(sa.column("c"), Sort.TEXT, sa.func.typeof(sa.column("c")) == sa.text("'blob'"))
    for condition in ("c == 'a'", "c != 'a'", "c in ['a']"):
        clause = WhereClause({"c": doubtful}, DECLARED).of(parse(condition))
        assert str(clause).startswith("typeof(c) = 'blob' OR c ")
    assert ColumnKind.CATEGORY is DECLARED["c"].kind
