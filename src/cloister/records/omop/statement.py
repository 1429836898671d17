# SPDX-License-Identifier: Apache-2.0
"""The one statement that makes a cohort's table, for every database that SQLAlchemy speaks to as PostgreSQL or SQLite.

Its parts, in order: `entered` (each person's index event), `observed` (those of them whose index event lies deep enough
in an observation period), one table of totals per domain that is looked at (`cloister.records.omop.totals`), so each
table of events is read once however many columns there are, and the persons, one row each, by ascending id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cloister.records.omop.days import CalendarDay, DayNumber
from cloister.records.omop.tables import EVENT_TABLES, OBSERVATION_PERIOD, PERSON, needed, table_clause
from cloister.records.omop.totals import Total, in_set, total_label, totals
from cloister.silos.omop import OmopConnector
from cloister.silos.omop_events import Domain
from cloister.silos.omop_fields import Outcome

_SEXES = {8507: "male", 8532: "female", 8521: "other", 8570: "other"}
"""Words for the concepts of the vocabulary Gender; 8570 is `AMBIGUOUS`. Every other concept, and none, is `unknown`."""


def cohort_statement(
    connector: OmopConnector, columns: Sequence[str], schema: str | None = None
) -> sa.Select[tuple[Any, ...]]:
    """The rows of the cohort.

    Args:
        connector: which cohort.
        columns: names of the columns that are asked for.
        schema: where the CDM's tables lie, if not where the database looks by itself.

    Returns:
        A statement with the person's id first and then ``columns``, in that order, sorted by the person's id.
    """
    return _CohortStatement(connector, schema).select(columns)


class _CohortStatement:
    def __init__(self, connector: OmopConnector, schema: str | None) -> None:
        self.connector = connector
        self.definitions = connector.definitions
        self.tables = {name: table_clause(name, cells, schema) for name, cells in needed(connector).items()}
        self.person = self._person()
        self.observed = self._observed()
        self.span = self.observed.c.until - self.observed.c.start  # days from the index event to the last observed day
        self.asked: dict[Domain, list[Total]] = {}

    def select(self, columns: Sequence[str]) -> sa.Select[tuple[Any, ...]]:
        connector = self.connector
        outcomes = tuple(connector.outcomes) if connector.cohort.known_outcomes else ()
        for name in dict.fromkeys((*columns, *outcomes)):
            self._ask(name)
        for number, window in enumerate(connector.cohort.without):
            self.asked.setdefault(window.domain, []).append(Total(_without(number), "count", window.look))
        found = {
            domain: totals(self.tables, EVENT_TABLES[domain], self.observed, asked)
            for domain, asked in self.asked.items()
        }
        self.totals = {
            total.name: found[domain].c[total_label(number)]
            for domain, asked in self.asked.items()
            for number, total in enumerate(asked)
        }
        rows = self.observed.join(self.person, self.person.c.person_id == self.observed.c.person_id)
        for each in found.values():
            rows = rows.outerjoin(each, each.c.person_id == self.observed.c.person_id)
        cells = [self._cell(name).label(f"column_{number}") for number, name in enumerate(columns)]
        return (
            sa.select(self.observed.c.person_id.label("whose"), *cells)
            .select_from(rows)
            .where(*(self._cell(name).is_not(None) for name in outcomes))
            .where(*(self._number(_without(number)) == 0 for number in range(len(connector.cohort.without))))
            .order_by(self.observed.c.person_id)
        )

    def _person(self) -> sa.CTE:
        person = self.tables[PERSON]
        return sa.select(*person.c).cte("everybody").prefix_with("MATERIALIZED", dialect="sqlite")

    def _observed(self) -> sa.CTE:
        cohort = self.connector.cohort
        table = EVENT_TABLES[cohort.entry.domain]
        events, periods = self.tables[table.name], self.tables[OBSERVATION_PERIOD]
        entered = (
            sa.select(events.c.person_id, sa.func.min(DayNumber(events.c[table.date])).label("start"))
            .where(in_set(events.c[table.concept], cohort.entry.look, self.tables))
            .group_by(events.c.person_id)
            .cte("entered")
        )
        watched = (
            sa.select(
                periods.c.person_id,
                DayNumber(periods.c.observation_period_start_date).label("since"),
                DayNumber(periods.c.observation_period_end_date).label("until"),
            )
            .cte("watched")
            .prefix_with("MATERIALIZED", dialect="sqlite")  # else it may compare each period with each person
        )
        return (
            sa.select(entered.c.person_id, entered.c.start, sa.func.max(watched.c.until).label("until"))
            .join(watched, watched.c.person_id == entered.c.person_id)
            .where(
                watched.c.since <= entered.c.start - cohort.prior_days,
                watched.c.until >= entered.c.start + cohort.follow_up_days,
            )
            .group_by(entered.c.person_id, entered.c.start)
            .cte("observed")
        )

    def _ask(self, name: str) -> None:
        """Have the totals counted that the column ``name`` is made of."""
        definition = self.definitions[name]
        if isinstance(definition, Outcome) and definition.event_of is not None:
            self._ask(definition.event_of)
        elif definition.take is not None and definition.look is not None and name not in self._asked_names():
            take = "count" if definition.take == "exists" else definition.take
            total = Total(name, take, definition.look, observed_only=isinstance(definition, Outcome))
            self.asked.setdefault(total.events.domain, []).append(total)

    def _asked_names(self) -> set[str]:
        return {total.name for asked in self.asked.values() for total in asked}

    def _number(self, name: str) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(self.totals[name], sa.literal_column("0"))

    def _cell(self, name: str) -> sa.ColumnElement[Any]:
        definition = self.definitions[name]
        if isinstance(definition, Outcome):
            return self._outcome(name, definition)
        if definition.person is not None:
            return self.person.c.person_id if definition.person == "id" else self._sex()
        if definition.age is not None:
            return self._age()
        if definition.index is not None:
            return self.observed.c.start
        if definition.take == "exists":
            return self._number(name) > 0
        return self._number(name) if definition.take == "count" else self.totals[name]

    def _outcome(self, name: str, outcome: Outcome) -> sa.ColumnElement[Any]:
        if outcome.event_of is not None:
            return self.totals[outcome.event_of].is_not(None)
        end = outcome.end
        if outcome.take == "time-to":
            last = self.span if end is None else sa.case((self.span < end, self.span), else_=end)
            return sa.func.coalesce(self.totals[name], last)
        if outcome.take == "exists":
            return sa.case((self._number(name) > 0, _ONE), (self.span >= end, _ZERO))
        return sa.case((self.span >= end, self._number(name))) if outcome.take == "count" else self.totals[name]

    def _sex(self) -> sa.ColumnElement[Any]:
        concept = self.person.c.gender_concept_id
        return sa.case(*((concept == number, word) for number, word in _SEXES.items()), else_="unknown")

    def _age(self) -> sa.ColumnElement[Any]:
        """Completed years, as people count them: dates as numbers such as 20100131 differ by 10000 a year."""
        person = self.person.c
        inferred = person.year_of_birth * 10_000 + sa.case(
            # What the CDM says of a date of birth of which a part is not known, but for children born in that year.
            (person.month_of_birth.is_(None), 615),
            else_=person.month_of_birth * 100 + sa.func.coalesce(person.day_of_birth, 1),
        )
        born = sa.func.coalesce(CalendarDay(DayNumber(person.birth_datetime)), inferred)
        day = CalendarDay(self.observed.c.start)
        return sa.case((born <= day, (day - born) // 10_000))


_ONE, _ZERO = sa.literal_column("1", sa.Integer()), sa.literal_column("0", sa.Integer())


def _without(number: int) -> str:
    """Name of a total that no column bears: columns begin with a letter."""
    return f"0_without_{number}"
