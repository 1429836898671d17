# SPDX-License-Identifier: Apache-2.0
"""Days in statements: a date as the number of days since 1970-01-01, in PostgreSQL and in SQLite alike.

PostgreSQL has a type for dates. SQLite has none; there a date is text such as `2010-01-31`, a time of day behind it
does not count, or `20100131`, which a column declared as `date` turns into a number, or, as OHDSI's own tools write it,
seconds since 1970-01-01 (https://github.com/OHDSI/SqlRender, dialect `sqlite`). No number is both: from 1800 to 2199
there is no date that, written as a number, is whole days of seconds. What is none of these becomes null.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class DayNumber(FunctionElement[int]):
    """Days since 1970-01-01 of a column's date; null where there is none or it cannot be read."""

    type = sa.BigInteger()
    inherit_cache = True


class CalendarDay(FunctionElement[int]):
    """A number of days since 1970-01-01 as a number such as 20100131."""

    type = sa.BigInteger()
    inherit_cache = True


class OddNumber(FunctionElement[bool]):
    """Whether a column of numbers holds something that is not one, and not null."""

    type = sa.Boolean()
    inherit_cache = True


class OddWhole(FunctionElement[bool]):
    """Whether a column of whole numbers holds something that is not one, and not null."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(DayNumber, "postgresql")
def _day_number_postgresql(element: DayNumber, compiler: Any, **options: Any) -> str:
    date = compiler.process(element.clauses, **options)
    return f"(CASE WHEN isfinite(CAST({date} AS DATE)) THEN CAST({date} AS DATE) - DATE '1970-01-01' END)"


@compiles(DayNumber, "sqlite")
def _day_number_sqlite(element: DayNumber, compiler: Any, **options: Any) -> str:
    date = compiler.process(element.clauses, **options)
    compact = f"substr({date}, 1, 4) || '-' || substr({date}, 5, 2) || '-' || substr({date}, 7, 2)"
    text = f"(CASE WHEN length({date}) = 8 THEN {compact} ELSE substr({date}, 1, 10) END)"
    # SQLite counts 31 February as 2 or 3 March, and reads words such as `now`; a date that it writes in another way
    # than it was written is none. It does so only where it is asked to reckon, if with nothing.
    of_text = f"CASE WHEN date({text}, '+0 days') = {text} THEN CAST(julianday({text}) - 2440587.5 AS INTEGER) END"
    days = f"CAST({date} / 86400 AS INTEGER)"
    kind = f"typeof({date})"
    return (
        f"(CASE WHEN {kind} IN ('integer', 'real') AND {date} = {days} * 86400 THEN {days}"
        f" WHEN {kind} IN ('integer', 'text') THEN {of_text} END)"
    )


@compiles(CalendarDay, "postgresql")
def _calendar_day_postgresql(element: CalendarDay, compiler: Any, **options: Any) -> str:
    day = compiler.process(element.clauses, **options)
    return f"CAST(to_char(DATE '1970-01-01' + CAST({day} AS INTEGER), 'YYYYMMDD') AS BIGINT)"


@compiles(CalendarDay, "sqlite")
def _calendar_day_sqlite(element: CalendarDay, compiler: Any, **options: Any) -> str:
    day = compiler.process(element.clauses, **options)
    return f"CAST(strftime('%Y%m%d', ({day}) * 86400, 'unixepoch') AS INTEGER)"


@compiles(OddNumber, "postgresql")
def _odd_number_postgresql(element: OddNumber, compiler: Any, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"(CAST({number} AS DOUBLE PRECISION) IN ('Infinity', '-Infinity', 'NaN'))"


@compiles(OddNumber, "sqlite")
def _odd_number_sqlite(element: OddNumber, compiler: Any, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"(typeof({number}) IN ('text', 'blob') OR abs({number}) > 1.7976931348623157e308)"


@compiles(OddWhole, "postgresql")
def _odd_whole_postgresql(element: OddWhole, compiler: Any, **options: Any) -> str:
    number = f"CAST({compiler.process(element.clauses, **options)} AS DOUBLE PRECISION)"
    return f"({number} <> trunc({number}) OR {number} IN ('Infinity', '-Infinity', 'NaN'))"


@compiles(OddWhole, "sqlite")
def _odd_whole_sqlite(element: OddWhole, compiler: Any, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"(typeof({number}) IN ('text', 'blob') OR {number} <> CAST({number} AS INTEGER))"
