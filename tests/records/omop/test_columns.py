# SPDX-License-Identifier: Apache-2.0
"""What columns of OMOP cohorts hold, on records small enough to know each right answer by hand; every source alike."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.records.cdm import WRITERS, Cdm, one_person, refusal, table, window


class TestFeatures:
    def test_both_ends_of_a_window_belong_to_it(self, write_cdm: Any) -> None:
        cdm = one_person()
        for day in (-31, -30, -30, -5, -1, 0, 1):
            cdm.event(7, "visit", 9201, day)
        fields = {
            f"from_{-first}_to_{-last}": {"take": "count", "domain": "visit", "from": first, "to": last}
            for first, last in ((-30, -1), (-29, -2), (0, 0), (-31, 0), (-1, 0))
        }
        found = table(write_cdm(cdm), fields=fields)[7]
        assert [found[name] for name in fields] == [4, 1, 1, 6, 2]

    def test_any_is_true_or_false_and_never_empty(self, write_cdm: Any) -> None:
        cdm = one_person().event(7, "drug", 5, -365).event(7, "drug", 6, -366)
        cdm.person(8).observed(8, -400, 9).event(8, "condition", 1, 0)
        fields = {
            name: {"take": "exists", **window("drug", [concept], -365, -1)}
            for name, concept in (("five", 5), ("six", 6))
        }
        found = table(write_cdm(cdm), fields=fields)
        assert [(row["five"], row["six"]) for row in found.values()] == [(True, False), (False, False)]

    def test_values_of_a_window(self, write_cdm: Any) -> None:
        cdm = one_person()
        for day, number in ((-11, 1.0), (-10, 60.0), (-4, 62.5), (-2, 59.0), (-1, None), (1, 99.0)):
            cdm.value(7, 30, day, number)
        cdm.value(7, 31, -1, 5.0)
        fields = {
            how: {"take": how, **window("measurement", [30], -10, 0)}
            for how in ("latest", "mean", "minimum", "maximum")
        }
        fields["none"] = {"take": "mean", **window("measurement", [30], -1, 0)}
        found = table(write_cdm(cdm), fields=fields)[7]
        assert [found[name] for name in fields] == [59.0, 60.5, 59.0, 62.5, None]

    def test_the_latest_of_one_day_is_that_of_the_latest_time_then_of_the_highest_key(self, write_cdm: Any) -> None:
        latest = {"fields": {"x": {"take": "latest", **window("measurement", [30], -10, 0)}}}
        early, late = datetime(2020, 2, 28, 8, 30), datetime(2020, 2, 28, 17, 5)
        cdm = one_person().value(7, 30, -2, 1.0, moment=late).value(7, 30, -2, 2.0, moment=early).value(7, 30, -2, 3.0)
        assert table(write_cdm(cdm), **latest)[7]["x"] == 1.0
        cdm = one_person().value(7, 30, -2, 1.0, moment=late).value(7, 30, -2, 2.0, moment=late)
        assert table(write_cdm(cdm), **latest)[7]["x"] == 2.0
        cdm = one_person().value(7, 30, -2, 1.0).value(7, 30, -1, 2.0).value(7, 30, -1, None)
        assert table(write_cdm(cdm), **latest)[7]["x"] == 2.0

    def test_values_in_two_units_are_refused_unless_one_is_named(self, write_cdm: Any) -> None:
        cdm = one_person().value(7, 30, -2, 70.0, unit_concept_id=9529).value(7, 30, -1, 154.0, unit_concept_id=8739)
        weight = {"take": "latest", **window("measurement", [30], -9, 0)}
        error = refusal(write_cdm(cdm), fields={"weight": weight})
        assert "the values of `weight` in table `measurement` of" in error.message
        assert error.message.endswith("are in more than one unit")
        kilograms = {"take": "latest", **window("measurement", [30], -9, 0, unit=9529)}
        assert table(write_cdm(cdm), fields={"weight": kilograms})[7]["weight"] == 70.0
        # A column that nobody asks for hinders nobody.
        assert table(write_cdm(cdm), ["who"], fields={"weight": weight}) == {7: {"who": 7}}

    def test_no_unit_is_a_unit_too(self, write_cdm: Any) -> None:
        cdm = one_person().value(7, 30, -2, 70.0, unit_concept_id=9529).value(7, 30, -1, 154.0)
        mean = {"take": "mean", **window("measurement", [30], -9, 0)}
        assert "more than one unit" in refusal(write_cdm(cdm), fields={"weight": mean}).message
        unknown = {"take": "mean", **window("measurement", [30], -9, 0, unit=0)}
        assert table(write_cdm(cdm), fields={"weight": unknown})[7]["weight"] == 154.0

    def test_a_bound_of_a_value_is_none(self, write_cdm: Any) -> None:
        cdm = one_person().value(7, 30, -4, 8.0, operator_concept_id=4172703).value(7, 30, -3, 6.0)
        cdm.value(7, 30, -2, 10.0, operator_concept_id=0).value(7, 30, -1, 2.0, operator_concept_id=4171756)  # < 2
        taken = ("latest", "mean", "minimum", "maximum", "count")
        fields = {take: {"take": take, **window("measurement", [30], -9, 0)} for take in taken}
        found = table(write_cdm(cdm), fields=fields)[7]
        assert [found[take] for take in taken] == [10.0, 8.0, 6.0, 10.0, 4]

    @pytest.mark.parametrize(
        ("born", "age"),
        [
            ("1980-03-01", 40),
            ("1980-03-02", 39),
            ("1980-02-29", 40),
            ("2020-03-01", 0),
            ("2019-03-02", 0),
            ("2020-03-02", None),  # after day 0: not known, and not -1
            ((1980, 3, 1), 40),
            ((1980, 3, 2), 39),
            ((1980, 3, None), 40),  # counts as the first of the month
            ((1980, 4, None), 39),
            ((1980, None, None), 39),  # counts as 15 June
            ((1980, None, 1), 39),
        ],
    )
    def test_age_is_completed_years_on_day_0(self, born: Any, age: int | None, tmp_path: Path) -> None:
        cdm = Cdm().person(7, born=born).observed(7, -9, 9).event(7, "condition", 1, 0)
        for write in WRITERS.values():
            assert table(write(tmp_path, cdm), fields={"age": {"age": "at-index"}})[7]["age"] == age

    def test_sex_in_words(self, write_cdm: Any) -> None:
        cdm = Cdm()
        for person, sex in enumerate((8507, 8532, 8521, 8570, 8551, 0, None, 45766034)):
            cdm.person(person, sex=sex).observed(person, -9, 9).event(person, "condition", 1, 0)  # type: ignore[arg-type]
        found = table(write_cdm(cdm), fields={"sex": {"person": "sex"}})
        words = ["male", "female", "other", "other", "unknown", "unknown", "unknown", "unknown"]
        assert [row["sex"] for row in found.values()] == words

    def test_sixty_columns_over_all_domains(self, write_cdm: Any) -> None:
        """SQLite joins 64 tables at most; the number of columns must not bring it there."""
        cdm = one_person().event(7, "drug", 5, -3)
        fields = {
            f"{domain}_{n}": {"take": "exists", **window(domain, [5], -n, 0)}
            for domain in ("condition", "drug", "procedure", "measurement", "observation", "visit")
            for n in range(12)
        }
        found = table(write_cdm(cdm), fields=fields)[7]
        assert {name for name in fields if found[name]} == {f"drug_{n}" for n in range(3, 12)}


OUTCOME = {"out": {"take": "exists", **window("condition", [2], 1, 30)}}


class TestOutcomes:
    def cdm(self) -> Cdm:
        """Persons by what is known of condition 2 on the days 1 to 30."""
        cdm = Cdm()
        for person, last, days in (
            (1, 30, ()),  # seen to the last day, and nothing was
            (2, 29, ()),  # nobody knows about day 30
            (3, 29, (1,)),
            (4, 30, (30,)),
            (5, 60, (31, 0, -1)),
            (6, 20, (25,)),  # after the end of observation
        ):
            cdm.person(person).observed(person, -100, last).event(person, "condition", 1, 0)
            for day in days:
                cdm.event(person, "condition", 2, day)
        return cdm

    def test_who_was_not_watched_long_enough_does_not_belong(self, write_cdm: Any) -> None:
        found = table(write_cdm(self.cdm()), outcomes=OUTCOME)
        assert {who: row["out"] for who, row in found.items()} == {1: False, 3: True, 4: True, 5: False}

    def test_or_has_nothing_in_the_cell(self, write_cdm: Any) -> None:
        found = table(write_cdm(self.cdm()), outcomes=OUTCOME, cohort={"known_outcomes": False})
        known = {1: False, 2: None, 3: True, 4: True, 5: False, 6: None}
        assert {who: row["out"] for who, row in found.items()} == known

    def test_who_belongs_does_not_depend_on_the_columns_asked_for(self, write_cdm: Any) -> None:
        assert set(table(write_cdm(self.cdm()), ["who"], outcomes=OUTCOME)) == {1, 3, 4, 5}

    def test_counts_and_values_ahead(self, write_cdm: Any) -> None:
        cdm = one_person(last=40)
        for day in (0, 1, 10, 30, 31):
            cdm.event(7, "visit", 9201, day).value(7, 30, day, float(day))
        outcomes = {
            "visits": {"take": "count", "domain": "visit", "from": 1, "to": 30},
            "last": {"take": "latest", **window("measurement", [30], 1, 30)},
            "most": {"take": "maximum", **window("measurement", [30], 1, 41)},
        }
        assert table(write_cdm(cdm), outcomes=outcomes) == {7: {"who": 7, "visits": 3, "last": 30.0, "most": 31.0}}
        unseen = {"visits": {"take": "count", "domain": "visit", "from": 1, "to": 41}}
        assert table(write_cdm(cdm), outcomes=unseen) == {}

    @pytest.mark.parametrize(
        ("to", "expected"),
        [
            (None, {1: (30, False), 2: (5, True), 3: (0, False), 4: (20, False), 5: (1, True)}),
            (10, {1: (10, False), 2: (5, True), 3: (0, False), 4: (10, False), 5: (1, True)}),
            (4, {1: (4, False), 2: (4, False), 3: (0, False), 4: (4, False), 5: (1, True)}),
        ],
    )
    def test_time_to_event_and_whether_it_was_seen(
        self, to: int | None, expected: dict[int, tuple[int, bool]], write_cdm: Any
    ) -> None:
        cdm = Cdm()
        for person, last, days in ((1, 30, ()), (2, 30, (5, 9)), (3, 0, (1,)), (4, 20, (25,)), (5, 9, (-3, 0, 1))):
            cdm.person(person).observed(person, -100, last).event(person, "condition", 1, 0)
            for day in days:
                cdm.event(person, "condition", 2, day)
        time_to = {"domain": "condition", "concepts": [2]} | ({} if to is None else {"to": to})
        outcomes = {"days": {"take": "time-to", **time_to}, "event": {"event_of": "days"}}
        found = table(write_cdm(cdm), outcomes=outcomes)
        assert {who: (row["days"], row["event"]) for who, row in found.items()} == expected
        alone = table(write_cdm(cdm), ["who", "event"], outcomes=outcomes)
        assert {who: row["event"] for who, row in alone.items()} == {who: seen for who, (_, seen) in expected.items()}

    def test_death_is_an_outcome_without_concepts(self, write_cdm: Any) -> None:
        cdm = one_person(last=12).death(7, 12).person(8).observed(8, -9, 90).event(8, "condition", 1, 0)
        outcomes = {
            "died": {"take": "exists", "domain": "death", "from": 1, "to": 30},
            "days": {"take": "time-to", "domain": "death"},
        }
        found = table(write_cdm(cdm), outcomes=outcomes)
        assert {who: (row["died"], row["days"]) for who, row in found.items()} == {7: (True, 12), 8: (False, 90)}
