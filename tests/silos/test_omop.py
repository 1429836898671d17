# SPDX-License-Identifier: Apache-2.0
"""OMOP cohorts in silo documents: what may be declared, and in which words the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from cloister.silos import Column, ColumnKind
from cloister.silos.omop import OmopConnector
from cloister.silos.omop_events import Domain, Look
from cloister.silos.omop_fields import Feature, Outcome
from tests.records.cdm import connector, window

SOURCE = {"kind": "sqlite", "path": "cdm.sqlite"}
AHEAD = window("condition", [2], 1, 30)


def made(**parts: Any) -> OmopConnector:
    return connector(SOURCE, **parts)


def wrong(**parts: Any) -> str:
    """The first thing that is said about a declaration that is none."""
    with pytest.raises(ValidationError) as caught:
        made(**parts)
    return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")


def test_a_whole_one_is_read() -> None:
    read = made(
        cohort={"prior_days": 365, "without": [window("condition", [2], -365, 0)], "known_outcomes": False},
        fields={
            "age": {"age": "at-index"},
            "bmi": {"take": "latest", **window("measurement", [3], -365, 0, unit=9531)},
            "visits": {"take": "count", "domain": "visit", "from": -365, "to": -1},
        },
        outcomes={
            "out": {"take": "exists", **AHEAD},
            "days": {"take": "time-to", "domain": "death"},
            "event": {"event_of": "days"},
        },
    )
    assert read.fields["bmi"].look == Look(Domain.MEASUREMENT, (3,), False, -365, 0, 9531)
    assert read.fields["age"].look is None
    assert read.outcomes["event"].look is None
    assert read.outcomes["days"].look == Look(Domain.DEATH, (), False, 1, None, None)
    assert read.cohort.without[0].look == Look(Domain.CONDITION, (2,), False, -365, 0)
    assert read.cohort.entry.look == Look(Domain.CONDITION, (1,))
    assert list(read.definitions) == ["who", "age", "bmi", "visits", "out", "days", "event"]
    assert read.cohort.prior_days == 365
    assert not read.cohort.follow_up_days


def test_an_outcome_that_is_unknown_is_left_out_where_nothing_is_said() -> None:
    assert made().cohort.known_outcomes


@pytest.mark.parametrize("key", ["exists", "count", "latest", "mean", "minimum", "maximum"])
class TestTheFuture:
    def test_a_feature_ends_on_day_0(self, key: str) -> None:
        made(fields={"x": {"take": key, **window("measurement", [3], -5, 0)}})
        said = wrong(fields={"x": {"take": key, **window("measurement", [3], -5, 1)}})
        assert said.startswith("looks at day 1, after the index event, which no model is told")
        assert "`outcomes`" in said

    def test_an_outcome_begins_on_day_1(self, key: str) -> None:
        made(outcomes={"x": {"take": key, **window("measurement", [3], 1, 5)}})
        said = wrong(outcomes={"x": {"take": key, **window("measurement", [3], 0, 5)}})
        assert said == "begins on day 0; an outcome lies after the index event, from day 1 on"


def test_no_feature_can_be_a_time_to_event() -> None:
    said = wrong(fields={"x": {"take": "time-to", "domain": "death"}})
    assert said.startswith("Input should be 'exists', 'count', 'latest', 'mean', 'minimum' or 'maximum'")
    assert wrong(fields={"x": {"event_of": "days"}}).startswith("Extra inputs are not permitted")
    assert not set(Outcome.model_fields) & {"person", "age", "index"}
    assert "event_of" not in Feature.model_fields


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"fields": {"x": {"take": "exists", **window("condition", [2], -1, -2)}}},
            "begins on day -1 and ends before, on day -2",
        ),
        (
            {"outcomes": {"x": {"take": "exists", **window("condition", [2], 9, 8)}}},
            "begins on day 9 and ends before, on day 8",
        ),
        (
            {"outcomes": {"x": {"take": "time-to", "domain": "death", "from": 9, "to": 8}}},
            "begins on day 9 and ends before, on day 8",
        ),
        (
            {"outcomes": {"x": {"take": "time-to", "domain": "death", "from": 0}}},
            "begins on day 0; an outcome lies after the index event, from day 1 on",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("conditions", [2], -2, -1)}}},
            "Input should be 'condition', 'drug', ",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("condition", [0], -2, -1)}}},
            "Input should be greater than or equal to 1",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("condition", [-2], -2, -1)}}},
            "Input should be greater than or equal to 1",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("condition", [2**31], -2, -1)}}},
            "Input should be less than or equal to 2",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("condition", ["2"], -2, -1)}}},
            "Input should be a valid integer",
        ),  # type: ignore[list-item]
        ({"fields": {"x": {"take": "exists", **window("condition", [2, 2], -2, -1)}}}, "names a concept twice"),
        (
            {"fields": {"x": {"take": "exists", **window("drug", [], -2, -1)}}},
            "needs `concepts`, because its domain is drug",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("visit", [], -2, -1, descendants=True)}}},
            "asks for `descendants` of no concept",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("visit", [], -99_999, -1)}}},
            "Input should be greater than or equal to -365",
        ),
        ({"fields": {"x": {"take": "exists", "domain": "visit", "to": -1}}}, "needs `from` and `to`, the first and"),
        ({"fields": {"x": {"take": "exists", "domain": "visit", "from": -1}}}, "needs `from` and `to`, the first and"),
        ({"fields": {"x": {"take": "exists", "from": -1, "to": 0}}}, "needs `domain`, where it takes `exists`"),
        ({"fields": {"x": {"person": "sex", "domain": "visit"}}}, "states `domain` and no `take`, which says what"),
        ({"fields": {"x": {"age": "at-index", "from": -3}}}, "states `from` and no `take`, which says what"),
        ({"outcomes": {"x": {"event_of": "y", "to": 3}}}, "states `to` and no `take`, which says what"),
        ({"outcomes": {"x": {"take": "exists", "domain": "visit"}}}, "needs `to`, the last day that is looked at"),
        (
            {"fields": {"x": {"take": "exists", **window("visit", [], -2, -1, unit=1)}}},
            "may not state `unit`, because it takes `exists`, which is the same in every unit",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("visit", [], -2, -1), "age": "at-index"}}},
            "must say one of `person`, `age`, `index`, `take`, and says `age` and `take`",
        ),
        ({"fields": {"x": {}}}, "must say one of `person`, `age`, `index`, `take`, and says none"),
        (
            {"outcomes": {"x": {}}},
            "must say one of `take`, `event_of`, and says none",
        ),
        ({"fields": {"x": {"person": "name"}}}, "Input should be 'id' or 'sex'"),
        (
            {"fields": {"x": {"take": "mean", **window("condition", [2], -2, -1)}}},
            "takes `mean` of values, and the domain condition records none",
        ),
        (
            {"fields": {"x": {"take": "exists", **window("death", [], -2, -1)}}},
            "looks for deaths before the index event",
        ),
        ({"cohort": {"entry": {"domain": "death"}}}, "begins with a death; nothing comes after"),
        ({"cohort": {"entry": {"domain": "condition"}}}, "needs `concepts`, because its domain is condition"),
        ({"cohort": {"prior_days": -1}}, "Input should be greater than or equal to 0"),
        (
            {"cohort": {"without": [window("drug", [2], -9, 1)]}},
            "is chosen by what happens on day 1, after the index ev",
        ),
        ({"cohort": {"without": [window("death", [], -9, 0)]}}, "leaves out who died before the index event"),
        ({"outcomes": {"who": {"take": "exists", **AHEAD}}}, "defines `who` under `fields` and under `outcomes`"),
        (
            {"outcomes": {"x": {"event_of": "y"}}},
            "defines `x` as the event of `y`, which is no outcome with `take: time-to`",
        ),
        (
            {"outcomes": {"x": {"event_of": "y"}, "y": {"take": "exists", **AHEAD}}},
            "defines `x` as the event of `y`, which is no outcome with `take: time-to`",
        ),
        ({"outcomes": {"a b": {"take": "exists", **AHEAD}}}, "String should match pattern"),
    ],
)
def test_what_cannot_be_meant_is_refused(parts: dict[str, Any], said: str) -> None:
    assert wrong(**parts).startswith(said)


def test_an_unknown_kind_of_source_is_refused() -> None:
    document = json.loads(made().model_dump_json(by_alias=True, exclude_none=True)) | {"source": {"kind": "mdb"}}
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        OmopConnector.model_validate_json(json.dumps(document))


def test_columns_must_be_defined_and_ids_must_be_identifiers() -> None:
    read = made(fields={"age": {"age": "at-index"}}, outcomes={"out": {"take": "exists", **AHEAD}})
    age, who = Column(kind=ColumnKind.INTEGER), Column(kind=ColumnKind.IDENTIFIER)
    assert read.problem_with({"who": who, "age": age}) is None
    assert read.problem_with({"out": Column(kind=ColumnKind.BOOLEAN)}) is None
    assert read.problem_with({"sex": age}) == "declares the column `sex`, which its connector does not define"
    said = "declares `who` as integer; it holds person ids, so its kind must be identifier"
    assert read.problem_with({"who": age}) == said
