# SPDX-License-Identifier: Apache-2.0
"""Totals over one table of events, per person of a cohort: how many, the first, the last value, their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from cloister.records.omop.days import DayNumber
from cloister.records.omop.tables import CONCEPT_ANCESTOR, EventTable
from cloister.silos.omop_events import Look
from cloister.silos.omop_fields import OF_VALUES

_EQUAL = (0, 4172703)
"""Concepts under `operator_concept_id` that leave a value a value: none, and `=`."""

_Event = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]


@dataclass(frozen=True)
class Total:
    """One number per person.

    Attributes:
        name: what it is called, by whoever asks for it.
        take: `count`, `latest`, `mean`, `minimum`, `maximum`, or `time-to` for the day of the first one.
        events: what is looked at, and on which days.
        observed_only: whether days after the end of observation do not count.
    """

    name: str
    take: str
    events: Look
    observed_only: bool = False


def in_set(
    concept: sa.ColumnElement[Any], events: Look, tables: Mapping[str, sa.TableClause]
) -> sa.ColumnElement[bool]:
    """Whether ``concept`` is one of those that ``events`` names, or of their descendants where those are asked for."""
    if not events.concepts:
        return sa.true()
    named = concept.in_(_numbers(events.concepts))
    if not events.descendants:
        return named
    ancestry = tables[CONCEPT_ANCESTOR].c
    return named | concept.in_(
        sa.select(ancestry.descendant_concept_id).where(ancestry.ancestor_concept_id.in_(_numbers(events.concepts)))
    )


def value_of(events: _Event, table: EventTable) -> sa.ColumnElement[Any]:
    """The number that an event says; null where it says none, or only a bound of one, such as `< 5`."""
    if table.operator is None:
        return events.value_as_number
    operator = sa.func.coalesce(events[table.operator], sa.literal_column("0"))
    return sa.case((operator.in_([sa.literal_column(str(each)) for each in _EQUAL]), events.value_as_number))


def totals(
    tables: Mapping[str, sa.TableClause], table: EventTable, observed: sa.CTE, asked: Sequence[Total]
) -> sa.Subquery:
    """All totals over ``table``, from one reading of it.

    Args:
        tables: the CDM's tables by name.
        table: the one that is read.
        observed: the cohort, with `person_id`, `start` (the index event's day) and `until` (the last day observed).
        asked: what is wanted.

    Returns:
        A table with `person_id` and a column per total, called `total_label` of its place; persons without any event
        are not in it.
    """
    marked = _marked(tables, table, observed, asked).subquery()
    latest = [number for number, total in enumerate(asked) if total.take == "latest"]
    ranks = [
        sa.func.row_number()
        .over(
            partition_by=(marked.c.person_id, marked.c[f"counts_{number}"]),
            order_by=(
                marked.c.day.desc(),
                marked.c.moment.is_(None),
                marked.c.moment.desc(),
                marked.c.key.desc(),
            ),
        )
        .label(f"rank_{number}")
        for number in latest
    ]
    ranked = sa.select(*marked.c, *ranks).subquery() if ranks else marked
    cells = [_total(ranked.c, number, total.take).label(total_label(number)) for number, total in enumerate(asked)]
    return sa.select(ranked.c.person_id, *cells).group_by(ranked.c.person_id).subquery()


def _marked(
    tables: Mapping[str, sa.TableClause], table: EventTable, observed: sa.CTE, asked: Sequence[Total]
) -> sa.Select[tuple[Any, ...]]:
    """The events that could count, each with its day and whether it counts for which total."""
    wanted = _wanted(tables, table, asked)
    near = (
        sa.select(
            *(column for column in wanted.c if column.key != "when"),
            (wanted.c.when - observed.c.start).label("day"),
            (observed.c.until - observed.c.start).label("span"),
        )
        .join(observed, observed.c.person_id == wanted.c.person_id)
        .subquery()
    )
    marks = [
        sa.case((sa.and_(*_conditions(near.c, total, tables)), 1), else_=0).label(f"counts_{number}")
        for number, total in enumerate(asked)
    ]
    return sa.select(*near.c, *marks)


def _wanted(tables: Mapping[str, sa.TableClause], table: EventTable, asked: Sequence[Total]) -> sa.CTE:
    """The events of anybody that bear a concept of any total."""
    events = tables[table.name].c
    cells = [events.person_id, events[table.concept].label("concept"), DayNumber(events[table.date]).label("when")]
    if any(total.take in OF_VALUES for total in asked):
        cells += [
            sa.cast(value_of(events, table), sa.Double()).label("value"),
            sa.func.coalesce(events.unit_concept_id, sa.literal_column("0")).label("unit"),
            (events[table.moment] if table.moment else sa.null()).label("moment"),
            events[table.key].label("key"),
        ]
    sets = {(total.events.concepts, total.events.descendants): total.events for total in asked}
    return (
        sa.select(*cells)
        .where(sa.or_(*(in_set(events[table.concept], each, tables) for each in sets.values())))
        .cte(f"wanted_{table.name}")
        .prefix_with("MATERIALIZED", dialect="sqlite")  # with an index of its own; see `watched` of the statement
    )


def _conditions(event: _Event, total: Total, tables: Mapping[str, sa.TableClause]) -> list[sa.ColumnElement[bool]]:
    events = total.events
    conditions = [in_set(event.concept, events, tables)]
    if events.start is not None:
        conditions.append(event.day >= events.start)
    if events.end is not None:
        conditions.append(event.day <= events.end)
    if total.observed_only:
        conditions.append(event.day <= event.span)
    if total.take in OF_VALUES:
        conditions.append(event.value.is_not(None))
        if events.unit is not None:
            conditions.append(event.unit == events.unit)
    return conditions


def _total(event: _Event, number: int, take: str) -> sa.ColumnElement[Any]:
    counts = event[f"counts_{number}"] == 1
    if take == "count":
        return sa.func.sum(event[f"counts_{number}"])
    if take == "time-to":
        return sa.func.min(sa.case((counts, event.day)))
    if take == "latest":
        return sa.func.max(sa.case((counts & (event[f"rank_{number}"] == 1), event.value)))
    of = sa.case((counts, event.value))
    if take == "mean":
        return sa.func.avg(of)
    return sa.func.min(of) if take == "minimum" else sa.func.max(of)


def total_label(number: int) -> str:
    """Name of the column of the total that was asked for in place ``number``."""
    return f"total_{number}"


def _numbers(concepts: Sequence[int]) -> Any:
    """Written into the statement as they are, because databases count parameters; they are checked to be numbers."""
    return sa.bindparam("concepts", list(concepts), sa.BigInteger(), unique=True, expanding=True, literal_execute=True)
