# SPDX-License-Identifier: Apache-2.0
"""Whatever the records and the declaration: the statement's rows are those that plain loops over the records find."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloister.records.omop.store import OmopStore
from cloister.silos.omop import OmopConnector
from tests.records.cdm import EVENTS, WRITERS, Cdm, connector, write_postgresql, write_sqlite
from tests.records.postgresql_server import PostgresqlServer

_PEOPLE = st.integers(1, 4)
_DAYS = st.integers(-6, 6)
_CONCEPTS = st.integers(1, 3)
_DOMAINS = tuple(EVENTS)
_ENTRY = {"domain": "condition", "concepts": [1, 2], "descendants": False}
_MOSTLY = st.sampled_from([True, True, True, False])
_VALUED = ("measurement", "observation")


@st.composite
def databases(draw: st.DrawFn) -> Cdm:
    """A few people with a few records close together, so that windows' ends are met."""
    cdm = Cdm()
    for person in sorted(draw(st.sets(_PEOPLE, min_size=2))):
        year, month, day = draw(st.sampled_from([(1980, 3, 1), (1979, 2, None), (2019, None, None), (1980, 2, 29)]))
        whole = draw(st.booleans()) and None not in (month, day)
        born: Any = f"{year}-{month:02}-{day:02}" if whole else (year, month, day)
        cdm.person(person, sex=draw(st.sampled_from([8507, 8532, 0])), born=born)
        if draw(_MOSTLY):
            cdm.observed(person, draw(st.integers(-15, -5)), draw(st.integers(3, 15)))
        if draw(_MOSTLY):
            cdm.event(person, "condition", draw(st.integers(1, 2)), draw(st.integers(-2, 2)))
    for _ in range(draw(st.integers(0, 3))):
        first, last = sorted((draw(st.integers(-12, 8)), draw(st.integers(-8, 12))))
        cdm.observed(draw(_PEOPLE), first, last)
    for _ in range(draw(st.integers(0, 25))):
        domain = draw(st.sampled_from(_DOMAINS))
        cells: dict[str, Any] = {}
        if domain in _VALUED:
            hour = st.integers(0, 3).map(lambda each: datetime(2020, 3, 1, each))
            cells = {
                "value_as_number": draw(st.none() | st.integers(-8, 8).map(lambda each: each / 2)),
                "unit_concept_id": draw(st.sampled_from([None, 0, 9])),
                "moment": draw(st.none() | hour),
            }
        cdm.event(draw(_PEOPLE), domain, draw(_CONCEPTS), draw(_DAYS), **cells)
    for person in draw(st.sets(_PEOPLE, max_size=2)):
        cdm.death(person, draw(st.integers(0, 8)))
    for concept in range(1, 4):
        for descendant in {concept, *draw(st.sets(st.integers(1, 5), max_size=2))}:
            cdm.add("concept_ancestor", ancestor_concept_id=concept, descendant_concept_id=descendant)
    return cdm


@st.composite
def events(draw: st.DrawFn, domains: Sequence[str] = _DOMAINS) -> dict[str, Any]:
    domain = draw(st.sampled_from(domains))
    concepts = draw(st.sets(_CONCEPTS, min_size=0 if domain in ("visit", "death") else 1, max_size=2))
    wide = bool(concepts) and draw(st.booleans())
    return {"domain": domain, "concepts": sorted(concepts), "descendants": wide}


@st.composite
def windows(draw: st.DrawFn, least: int, most: int, domains: Sequence[str] = _DOMAINS) -> dict[str, Any]:
    first, last = sorted((draw(st.integers(least, most)), draw(st.integers(least, most))))
    return {**draw(events(domains)), "from": first, "to": last}


def _taken(take: str, what: dict[str, Any]) -> dict[str, Any]:
    return {"take": take, **what}


@st.composite
def declarations(draw: st.DrawFn) -> dict[str, Any]:
    def features(least: int, most: int, domains: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
        values = st.tuples(windows(least, most, _VALUED), st.sampled_from([0, 9])).map(
            lambda each: {**each[0], "unit": each[1]}
        )
        return st.one_of(
            st.builds(_taken, st.sampled_from(["exists", "count"]), windows(least, most, domains)),
            st.builds(_taken, st.sampled_from(["latest", "mean", "minimum", "maximum"]), values),
        )

    fields = draw(st.lists(features(-8, 0, _DOMAINS), max_size=5))
    outcomes = draw(st.lists(features(1, 8, (*_DOMAINS, "death")), max_size=3))
    ahead = {
        **draw(events((*_DOMAINS, "death"))),
        "from": draw(st.integers(1, 2)),
        **draw(st.sampled_from([{}, {"to": 2}, {"to": 5}])),
    }
    return {
        "cohort": {
            "entry": draw(st.just(_ENTRY) | events(("condition", "visit"))),
            "prior_days": draw(st.sampled_from([0, 0, 0, 4, 6])),
            "follow_up_days": draw(st.sampled_from([0, 0, 0, 2, 4])),
            "without": draw(st.sampled_from([[], [], draw(st.lists(windows(-3, 0), max_size=1))])),
            "known_outcomes": draw(st.sampled_from([False, False, True])),
        },
        "fields": {
            "age": {"age": "at-index"},
            "day": {"index": "date"},
            **{f"f{n}": each for n, each in enumerate(fields)},
        },
        "outcomes": {
            "days": {"take": "time-to", **ahead},
            "event": {"event_of": "days"},
            **{f"o{n}": each for n, each in enumerate(outcomes)},
        },
    }


class Loops:
    """The same table, made by loops over the records."""

    def __init__(self, cdm: Cdm, declared: dict[str, Any]) -> None:
        self.cdm, self.declared = cdm, declared

    def rows(self) -> list[dict[str, Any]]:
        found = (self.row(person) for person in sorted(self.cdm.tables["person"], key=lambda each: each["person_id"]))
        return [row for row in found if row is not None]

    def row(self, person: dict[str, Any]) -> dict[str, Any] | None:
        cohort, who = self.declared["cohort"], person["person_id"]
        entries = [day for day, _ in self.events(who, cohort["entry"])]
        if not entries:
            return None
        index = min(entries)
        last_days = []
        for period in self.cdm.tables["observation_period"]:
            if period["person_id"] == who:
                begin, end = period["observation_period_start_date"], period["observation_period_end_date"]
                before, after = (index - begin).days, (end - index).days
                if before >= cohort["prior_days"] and after >= cohort["follow_up_days"]:
                    last_days.append(after)
        if not last_days:
            return None
        span = max(last_days)
        if any(self.window(who, index, each) for each in cohort["without"]):
            return None
        row: dict[str, Any] = {"who": who}
        for name, feature in self.declared["fields"].items():
            row[name] = self.feature(person, index, feature)
        for name, outcome in self.declared["outcomes"].items():
            row[name] = self.outcome(who, index, span, outcome)
            if row[name] is None and cohort["known_outcomes"]:
                return None
        return row

    def events(self, who: int, asked: dict[str, Any]) -> list[tuple[date, dict[str, Any]]]:
        table, concept, day = {**EVENTS, "death": ("death", "cause_concept_id", "death_date")}[asked["domain"]]
        concepts = set(asked["concepts"])
        if asked["descendants"]:
            for each in self.cdm.tables["concept_ancestor"]:
                if each["ancestor_concept_id"] in asked["concepts"]:
                    concepts.add(each["descendant_concept_id"])
        return [
            (row[day], row)
            for row in self.cdm.tables[table]
            if row["person_id"] == who and (row[concept] in concepts or not asked["concepts"])
        ]

    def window(
        self, who: int, index: date, asked: dict[str, Any], span: int = 10**6
    ) -> list[tuple[int, dict[str, Any]]]:
        found = [((day - index).days, row) for day, row in self.events(who, asked)]
        last = min(span, asked.get("to", 10**6))
        return [(day, row) for day, row in found if asked["from"] <= day <= last]

    def feature(self, person: dict[str, Any], index: date, feature: dict[str, Any]) -> Any:
        if "age" in feature:
            return self.age(person, index)
        if "index" in feature:
            return index
        key = feature["take"]
        found = self.window(person["person_id"], index, feature)
        if key in ("exists", "count"):
            return bool(found) if key == "exists" else len(found)
        return self.value(key, feature, found)

    def value(self, key: str, asked: dict[str, Any], found: list[tuple[int, dict[str, Any]]]) -> float | None:
        kept = [
            (day, row)
            for day, row in found
            if row["value_as_number"] is not None and (row["unit_concept_id"] or 0) == asked["unit"]
        ]
        numbers = [row["value_as_number"] for _, row in kept]
        if not numbers:
            return None
        if key == "latest":
            name = asked["domain"]
            moment = f"{name}_datetime"
            order = [
                (day, row[moment] or datetime(1, 1, 1), row[f"{name}_id"], row["value_as_number"]) for day, row in kept
            ]
            return float(max(order)[-1])
        if key == "mean":
            return sum(numbers) / len(numbers)
        return float(min(numbers) if key == "minimum" else max(numbers))

    def age(self, person: dict[str, Any], index: date) -> int | None:
        year, month, day = (person[f"{part}_of_birth"] for part in ("year", "month", "day"))
        born = (year, 6, 15) if month is None else (year, month, day or 1)
        today = (index.year, index.month, index.day)
        return None if born > today else today[0] - born[0] - (today[1:] < born[1:])

    def outcome(self, who: int, index: date, span: int, outcome: dict[str, Any]) -> Any:
        if "event_of" in outcome:
            return bool(self.window(who, index, self.declared["outcomes"][outcome["event_of"]], span))
        key, found = outcome["take"], self.window(who, index, outcome, span)
        if key == "time-to":
            return min([day for day, _ in found], default=min(span, outcome.get("to", span)))
        watched = span >= outcome["to"]
        if key == "exists":
            return True if found else (False if watched else None)
        if key == "count":
            return len(found) if watched else None
        return self.value(key, outcome, found)


def read(declared: OmopConnector) -> list[dict[str, Any]]:
    store = OmopStore.at(declared, Path("/"))
    return [row for batch in store.batches(store.column_names()) for row in batch.to_pylist()]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(databases(), declarations())
def test_rows_are_what_loops_find(cdm: Cdm, declared: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = write_sqlite(Path(folder), cdm)
        assert read(connector(source, **declared)) == Loops(cdm, declared).rows()


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(databases(), declarations())
def test_every_source_gives_the_same_rows(cdm: Cdm, declared: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = [read(connector(write(Path(folder), cdm), **declared)) for write in WRITERS.values()]
    assert all(each == Loops(cdm, declared).rows() for each in found)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(cdm=databases(), declared=declarations())
def test_postgresql_gives_what_loops_find(
    cdm: Cdm, declared: dict[str, Any], postgresql: PostgresqlServer, database: str
) -> None:
    source = write_postgresql(postgresql, database, cdm)
    assert read(connector(source, **declared)) == Loops(cdm, declared).rows()


@pytest.mark.slow
def test_the_examples_are_not_empty() -> None:
    """Most drawn databases have rows, and some have none: else the properties above would say little."""
    sizes = []

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(databases(), declarations())
    def count(cdm: Cdm, declared: dict[str, Any]) -> None:
        sizes.append(len(Loops(cdm, declared).rows()))

    count()
    assert sum(size > 0 for size in sizes) > 20
