# SPDX-License-Identifier: Apache-2.0
"""OMOP cohorts, on records small enough to know each right answer by hand; every kind of source gives the same."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.records.omop import OmopStore
from tests.records.cdm import (
    DAY_0,
    WRITERS,
    Cdm,
    connector,
    csv_text,
    window,
    write_csv,
    write_postgresql,
    write_sqlite,
    write_zip,
)

SECRET = "the-patient-said-so"  # stands for a record's content: no message may hold it


def table(source: dict[str, str], columns: Sequence[str] = (), **parts: Any) -> dict[int, dict[str, Any]]:
    """The cohort's rows by the person's id; all columns where none is named."""
    store = OmopStore.at(connector(source, **parts), Path("/nowhere"))
    names = store.column_names()
    rows = [row for batch in store.batches(columns or names) for row in batch.to_pylist()]
    return {row["who"]: row for row in rows} if "who" in (columns or names) else dict(enumerate(rows))


def refusal(source: dict[str, str], **parts: Any) -> RecordsError:
    with pytest.raises(RecordsError) as caught:
        table(source, **parts)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return caught.value


@pytest.fixture(params=[*WRITERS, "postgresql"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes a CDM into one kind of source, and says where it is."""
    if request.param != "postgresql":
        return lambda cdm: WRITERS[request.param](tmp_path, cdm)
    server, database = (request.getfixturevalue(name) for name in ("postgresql", "database"))
    return lambda cdm: write_postgresql(server, database, cdm)


def one_person(*, first: int = -1000, last: int = 1000) -> Cdm:
    """Person 7, whose index event is on day 0."""
    return Cdm().person(7).observed(7, first, last).event(7, "condition", 1, 0)


class TestWhoBelongs:
    def test_the_first_event_of_the_set_is_day_0(self, write: Any) -> None:
        cdm = Cdm()
        for person, days in ((1, (30, 0, 60)), (2, (5,)), (3, ())):
            cdm.person(person).observed(person, -100, 100)
            for day in days:
                cdm.event(person, "condition", 1 if day else 2, day)
        cdm.event(3, "condition", 3, 0)  # of another concept
        cdm.event(2, "drug", 1, 0)  # in another domain
        found = table(write(cdm), fields={"day": {"index": "date"}}, cohort={"entry": _entry([1, 2])})
        assert {who: row["day"] for who, row in found.items()} == {1: DAY_0, 2: date(2020, 3, 6)}

    def test_days_of_observation_before_and_after_count_from_day_0(self, write: Any) -> None:
        cdm = Cdm()
        periods = {1: (-10, 5), 2: (-9, 5), 3: (-10, 4), 4: (-365, 365), 5: (1, 50), 6: (-50, -1)}
        for person, (first, last) in periods.items():
            cdm.person(person).observed(person, first, last).event(person, "condition", 1, 0)
        assert set(table(write(cdm), cohort={"prior_days": 10, "follow_up_days": 5})) == {1, 4}
        assert set(table(write(cdm))) == {1, 2, 3, 4}

    def test_the_period_that_day_0_lies_in_is_the_one_that_counts(self, write: Any) -> None:
        cdm = one_person(first=-20, last=30).observed(7, -900, -100).observed(7, 200, 900)
        days = {"days": {"take": "time-to", "domain": "death"}}
        assert table(write(cdm), outcomes=days)[7]["days"] == 30
        assert table(write(cdm), cohort={"prior_days": 21}) == {}

    def test_a_first_event_outside_of_every_period_is_still_the_first(self, write: Any) -> None:
        """The second one would be nobody's first."""
        cdm = Cdm().person(7).observed(7, -10, 10).event(7, "condition", 1, -500).event(7, "condition", 1, 0)
        assert table(write(cdm)) == {}

    def test_descendants_belong_to_the_set_when_asked_for(self, write: Any) -> None:
        cdm = Cdm()
        for ancestor, descendant in ((1, 1), (1, 11), (1, 111), (2, 2), (2, 22)):
            cdm.add("concept_ancestor", ancestor_concept_id=ancestor, descendant_concept_id=descendant)
        for person, concept in ((1, 1), (2, 11), (3, 111), (4, 22), (5, 2)):
            cdm.person(person).observed(person, -1, 1).event(person, "condition", concept, 0)
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        assert set(table(write(cdm), cohort={"entry": wide})) == {1, 2, 3}
        assert set(table(write(cdm))) == {1}
        assert set(table(write(cdm), cohort={"entry": wide | {"concepts": [1, 2]}})) == {1, 2, 3, 4, 5}

    def test_without_leaves_out_who_had_it_in_the_window(self, write: Any) -> None:
        cdm = Cdm()
        for person, day in ((1, -31), (2, -30), (3, -1), (4, 0), (5, None)):
            cdm.person(person).observed(person, -100, 100).event(person, "condition", 1, 0)
            cdm.event(person, "condition", 2, day) if day is not None else None
        assert set(table(write(cdm), cohort={"without": [window("condition", [2], -30, -1)]})) == {1, 4, 5}

    @pytest.mark.parametrize("domain", ["condition", "drug", "procedure", "measurement", "observation", "visit"])
    def test_every_domain_can_begin_it(self, domain: str, write: Any) -> None:
        cdm = Cdm().person(1).observed(1, -1, 1).event(1, domain, 8, 0).person(2).observed(2, -1, 1)
        assert set(table(write(cdm), cohort={"entry": _entry([8], domain)})) == {1}

    def test_nobody_is_an_empty_table(self, write: Any) -> None:
        assert table(write(one_person()), cohort={"entry": _entry([404])}) == {}

    def test_who_has_no_person_record_has_no_row(self, write: Any) -> None:
        assert set(table(write(one_person().observed(8, -9, 9).event(8, "condition", 1, 0)))) == {7}


class TestFeatures:
    def test_both_ends_of_a_window_belong_to_it(self, write: Any) -> None:
        cdm = one_person()
        for day in (-31, -30, -30, -5, -1, 0, 1):
            cdm.event(7, "visit", 9201, day)
        fields = {
            f"from_{-first}_to_{-last}": {"take": "count", "domain": "visit", "from": first, "to": last}
            for first, last in ((-30, -1), (-29, -2), (0, 0), (-31, 0), (-1, 0))
        }
        found = table(write(cdm), fields=fields)[7]
        assert [found[name] for name in fields] == [4, 1, 1, 6, 2]

    def test_any_is_true_or_false_and_never_empty(self, write: Any) -> None:
        cdm = one_person().event(7, "drug", 5, -365).event(7, "drug", 6, -366)
        cdm.person(8).observed(8, -400, 9).event(8, "condition", 1, 0)
        fields = {
            name: {"take": "exists", **window("drug", [concept], -365, -1)}
            for name, concept in (("five", 5), ("six", 6))
        }
        found = table(write(cdm), fields=fields)
        assert [(row["five"], row["six"]) for row in found.values()] == [(True, False), (False, False)]

    def test_values_of_a_window(self, write: Any) -> None:
        cdm = one_person()
        for day, number in ((-11, 1.0), (-10, 60.0), (-4, 62.5), (-2, 59.0), (-1, None), (1, 99.0)):
            cdm.value(7, 30, day, number)
        cdm.value(7, 31, -1, 5.0)
        fields = {
            how: {"take": how, **window("measurement", [30], -10, 0)}
            for how in ("latest", "mean", "minimum", "maximum")
        }
        found = table(write(cdm), fields={**fields, "none": {"take": "mean", **window("measurement", [30], -1, 0)}})[7]
        assert [found[name] for name in (*fields, "none")] == [59.0, 60.5, 59.0, 62.5, None]

    def test_the_latest_of_one_day_is_that_of_the_latest_time_then_of_the_highest_key(self, write: Any) -> None:
        latest = {"fields": {"x": {"take": "latest", **window("measurement", [30], -10, 0)}}}
        early, late = datetime(2020, 2, 28, 8, 30), datetime(2020, 2, 28, 17, 5)
        cdm = one_person().value(7, 30, -2, 1.0, moment=late).value(7, 30, -2, 2.0, moment=early).value(7, 30, -2, 3.0)
        assert table(write(cdm), **latest)[7]["x"] == 1.0
        cdm = one_person().value(7, 30, -2, 1.0, moment=late).value(7, 30, -2, 2.0, moment=late)
        assert table(write(cdm), **latest)[7]["x"] == 2.0
        cdm = one_person().value(7, 30, -2, 1.0).value(7, 30, -1, 2.0).value(7, 30, -1, None)
        assert table(write(cdm), **latest)[7]["x"] == 2.0

    def test_values_in_two_units_are_refused_unless_one_is_named(self, write: Any) -> None:
        cdm = one_person().value(7, 30, -2, 70.0, unit_concept_id=9529).value(7, 30, -1, 154.0, unit_concept_id=8739)
        weight = {"take": "latest", **window("measurement", [30], -9, 0)}
        error = refusal(write(cdm), fields={"weight": weight})
        assert "the values of `weight` in table `measurement` of" in error.message
        assert error.message.endswith("are in more than one unit")
        kilograms = {"take": "latest", **window("measurement", [30], -9, 0, unit=9529)}
        assert table(write(cdm), fields={"weight": kilograms})[7]["weight"] == 70.0
        # A column that nobody asks for hinders nobody.
        assert table(write(cdm), ["who"], fields={"weight": weight}) == {7: {"who": 7}}

    def test_no_unit_is_a_unit_too(self, write: Any) -> None:
        cdm = one_person().value(7, 30, -2, 70.0, unit_concept_id=9529).value(7, 30, -1, 154.0)
        assert (
            "more than one unit"
            in refusal(write(cdm), fields={"weight": {"take": "mean", **window("measurement", [30], -9, 0)}}).message
        )
        unknown = {"take": "mean", **window("measurement", [30], -9, 0, unit=0)}
        assert table(write(cdm), fields={"weight": unknown})[7]["weight"] == 154.0

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

    def test_sex_in_words(self, write: Any) -> None:
        cdm = Cdm()
        for person, sex in enumerate((8507, 8532, 8521, 8570, 8551, 0, None, 45766034)):
            cdm.person(person, sex=sex).observed(person, -9, 9).event(person, "condition", 1, 0)  # type: ignore[arg-type]
        found = table(write(cdm), fields={"sex": {"person": "sex"}})
        words = ["male", "female", "other", "other", "unknown", "unknown", "unknown", "unknown"]
        assert [row["sex"] for row in found.values()] == words

    def test_sixty_columns_over_all_domains(self, write: Any) -> None:
        """SQLite joins 64 tables at most; the number of columns must not bring it there."""
        cdm = one_person().event(7, "drug", 5, -3)
        fields = {
            f"{domain}_{n}": {"take": "exists", **window(domain, [5], -n, 0)}
            for domain in ("condition", "drug", "procedure", "measurement", "observation", "visit")
            for n in range(12)
        }
        found = table(write(cdm), fields=fields)[7]
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

    def test_who_was_not_watched_long_enough_does_not_belong(self, write: Any) -> None:
        found = table(write(self.cdm()), outcomes=OUTCOME)
        assert {who: row["out"] for who, row in found.items()} == {1: False, 3: True, 4: True, 5: False}

    def test_or_has_nothing_in_the_cell(self, write: Any) -> None:
        found = table(write(self.cdm()), outcomes=OUTCOME, cohort={"known_outcomes": False})
        known = {1: False, 2: None, 3: True, 4: True, 5: False, 6: None}
        assert {who: row["out"] for who, row in found.items()} == known

    def test_who_belongs_does_not_depend_on_the_columns_asked_for(self, write: Any) -> None:
        assert set(table(write(self.cdm()), ["who"], outcomes=OUTCOME)) == {1, 3, 4, 5}

    def test_counts_and_values_ahead(self, write: Any) -> None:
        cdm = one_person(last=40)
        for day in (0, 1, 10, 30, 31):
            cdm.event(7, "visit", 9201, day).value(7, 30, day, float(day))
        outcomes = {
            "visits": {"take": "count", "domain": "visit", "from": 1, "to": 30},
            "last": {"take": "latest", **window("measurement", [30], 1, 30)},
            "most": {"take": "maximum", **window("measurement", [30], 1, 41)},
        }
        assert table(write(cdm), outcomes=outcomes) == {7: {"who": 7, "visits": 3, "last": 30.0, "most": 31.0}}
        unseen = {"visits": {"take": "count", "domain": "visit", "from": 1, "to": 41}}
        assert table(write(cdm), outcomes=unseen) == {}

    @pytest.mark.parametrize(
        ("to", "expected"),
        [
            (None, {1: (30, False), 2: (5, True), 3: (0, False), 4: (20, False), 5: (1, True)}),
            (10, {1: (10, False), 2: (5, True), 3: (0, False), 4: (10, False), 5: (1, True)}),
            (4, {1: (4, False), 2: (4, False), 3: (0, False), 4: (4, False), 5: (1, True)}),
        ],
    )
    def test_time_to_event_and_whether_it_was_seen(
        self, to: int | None, expected: dict[int, tuple[int, bool]], write: Any
    ) -> None:
        cdm = Cdm()
        for person, last, days in ((1, 30, ()), (2, 30, (5, 9)), (3, 0, (1,)), (4, 20, (25,)), (5, 9, (-3, 0, 1))):
            cdm.person(person).observed(person, -100, last).event(person, "condition", 1, 0)
            for day in days:
                cdm.event(person, "condition", 2, day)
        time_to = {"domain": "condition", "concepts": [2]} | ({} if to is None else {"to": to})
        outcomes = {"days": {"take": "time-to", **time_to}, "event": {"event_of": "days"}}
        found = table(write(cdm), outcomes=outcomes)
        assert {who: (row["days"], row["event"]) for who, row in found.items()} == expected
        alone = table(write(cdm), ["who", "event"], outcomes=outcomes)
        assert {who: row["event"] for who, row in alone.items()} == {who: seen for who, (_, seen) in expected.items()}

    def test_death_is_an_outcome_without_concepts(self, write: Any) -> None:
        cdm = one_person(last=12).death(7, 12).person(8).observed(8, -9, 90).event(8, "condition", 1, 0)
        outcomes = {
            "died": {"take": "exists", "domain": "death", "from": 1, "to": 30},
            "days": {"take": "time-to", "domain": "death"},
        }
        found = table(write(cdm), outcomes=outcomes)
        assert {who: (row["died"], row["days"]) for who, row in found.items()} == {7: (True, 12), 8: (False, 90)}


FIELDS = {
    "age": {"age": "at-index"},
    "sex": {"person": "sex"},
    "day": {"index": "date"},
    "many": {"take": "count", **window("drug", [5], -9, 0)},
    "mean": {"take": "mean", **window("measurement", [30], -9, 0)},
}
OUTCOMES = {"out": {"take": "exists", **window("drug", [5], 1, 9)}, "days": {"take": "time-to", "domain": "death"}}


class TestTheStore:
    def test_columns_come_typed_and_as_asked(self, write: Any) -> None:
        store = OmopStore.at(connector(write(one_person()), fields=FIELDS, outcomes=OUTCOMES), Path("/"))
        assert store.column_names() == ("who", "age", "sex", "day", "many", "mean", "out", "days")
        whole, number = pa.int64(), pa.float64()
        types = dict(
            zip(
                store.column_names(),
                (whole, whole, pa.string(), pa.date32(), whole, number, pa.bool_(), whole),
                strict=True,
            )
        )
        for columns in (store.column_names(), ("days", "who", "mean"), ("out",)):
            (batch,) = store.batches(columns)
            assert batch.schema == pa.schema([(name, types[name]) for name in columns])
        assert store.left_out == 0

    def test_rows_come_in_batches_by_ascending_person(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cloister.records.omop.BATCH_ROWS", 50)
        cdm = Cdm()
        for person in range(107, 0, -1):
            cdm.person(person).observed(person, -9, 9).event(person, "condition", 1, 0)
        store = OmopStore.at(connector(write_sqlite(tmp_path, cdm)), Path("/"))
        batches = list(store.batches(["who"]))
        assert [batch.num_rows for batch in batches] == [50, 50, 7]
        assert [who for batch in batches for who in batch.column(0).to_pylist()] == list(range(1, 108))

    def test_a_column_that_nobody_defined_is_refused(self, tmp_path: Path) -> None:
        store = OmopStore.at(connector(write_sqlite(tmp_path, one_person())), Path("/"))
        with pytest.raises(RecordsError, match="has no column `whom` "):
            list(store.batches(["whom"]))

    def test_a_relative_path_begins_at_the_root(self, tmp_path: Path) -> None:
        write_sqlite(tmp_path, one_person())
        store = OmopStore.at(connector({"kind": "sqlite", "path": "cdm.sqlite"}), tmp_path)
        assert store.shown == "cdm.sqlite"
        assert [batch.num_rows for batch in store.batches(["who"])] == [1]

    def test_nothing_is_changed_and_nothing_is_left_behind(
        self, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setenv("SQLITE_TMPDIR", str(scratch))
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        source = write(one_person())
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        store = OmopStore.at(connector(source), Path("/"))
        batches = store.batches(["who"])
        next(batches)
        assert list(scratch.iterdir()) == []  # not even while it is open: the files have no names
        batches.close()
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


class TestShape:
    def test_a_missing_table_is_named_with_the_version(self, tmp_path: Path) -> None:
        fields = {"bmi": {"take": "latest", **window("measurement", [30], -9, 0)}}
        source = write_sqlite(tmp_path, one_person())
        with closing(sqlite3.connect(source["path"])) as connection:
            connection.execute("DROP TABLE measurement")
        error = refusal(source, fields=fields)
        assert error.message == f"`{source['path']}` has no table `measurement` of OMOP CDM 5.4"
        assert set(table(source)) == {7}  # who does not need it does not miss it
        source = write_csv(tmp_path, one_person())
        for name in ("measurement", "person"):
            (Path(source["path"]) / f"{name}.csv").unlink()
        error = refusal(source, fields=fields)
        assert error.message == f"`{source['path']}` has no tables `person`, `measurement` of OMOP CDM 5.4"

    def test_a_missing_column_is_named_with_its_table(self, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person())
        with closing(sqlite3.connect(source["path"])) as connection:
            connection.execute("ALTER TABLE condition_occurrence RENAME COLUMN condition_start_date TO start_date")
        error = refusal(source)
        where = f"table `condition_occurrence` of `{source['path']}`"
        assert error.message == f"{where} has no column `condition_start_date` of OMOP CDM 5.4"

    def test_a_place_that_is_not_there_or_is_something_else(self, tmp_path: Path) -> None:
        for kind in ("sqlite", "csv-folder"):
            place = {"kind": kind, "path": str(tmp_path / "cdm")}
            assert refusal(place).message == f"`{tmp_path}/cdm` does not exist"
        (tmp_path / "cdm").write_bytes(SECRET.encode() * 100)
        error = refusal({"kind": "csv-folder", "path": str(tmp_path / "cdm")})
        assert error.message == f"`{tmp_path}/cdm` is not a readable zip archive"
        error = refusal({"kind": "sqlite", "path": str(tmp_path / "cdm")})
        assert error.message == f"`{tmp_path}/cdm` is not an SQLite database"

    def test_no_vocabulary_and_descendants_asked_for(self, write: Any) -> None:
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        error = refusal(write(one_person()), cohort={"entry": wide})
        assert error.message.startswith("table `concept_ancestor` of `")
        assert error.message.endswith("does not know concept 1, whose `descendants` are asked for")
        assert error.hint.startswith("load the vocabulary if the table is empty")

    def test_a_concept_that_the_vocabulary_does_not_know(self, write: Any) -> None:
        cdm = one_person().add("concept_ancestor", ancestor_concept_id=2, descendant_concept_id=1)
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        assert refusal(write(cdm), cohort={"entry": wide}).message.endswith(
            "does not know concept 1, whose `descendants` are asked for"
        )

    def test_a_person_twice(self, write: Any) -> None:
        assert "holds a person twice" in refusal(write(one_person().person(7))).message


class TestSqlite:
    @pytest.mark.parametrize(
        "as_stored",
        [
            lambda day: f"{day:%Y%m%d}" if type(day) is date else str(day),
            lambda day: f"{day:%Y-%m-%d} 00:00:00",
            lambda day: f"{day:%Y-%m-%d}T23:59:59Z",
            lambda day: (date(day.year, day.month, day.day) - date(1970, 1, 1)).days * 86_400,  # as OHDSI's tools do
            lambda day: (date(day.year, day.month, day.day) - date(1970, 1, 1)).days * 86_400.0,
        ],
    )
    def test_dates_as_they_are_stored(self, as_stored: Any, tmp_path: Path) -> None:
        cdm = Cdm().person(7, born="1969-03-01").observed(7, -18_400, 3).event(7, "condition", 1, 0)
        cdm.event(7, "visit", 1, -1).event(7, "visit", 1, -18_400)  # that one in 1969
        source = write_sqlite(tmp_path, cdm, as_stored)
        fields = {
            "age": {"age": "at-index"},
            "day": {"index": "date"},
            "visits": {"take": "count", "domain": "visit", "from": -18_400, "to": 0},
        }
        assert table(source, fields=fields) == {7: {"who": 7, "age": 51, "day": DAY_0, "visits": 2}}

    @pytest.mark.parametrize("stored", ["2020-02-30", "01.03.2020", "now", "", SECRET, 18322, 20200231, None, b"x"])
    def test_what_is_no_date_is_counted_and_refused(self, stored: Any, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().event(7, "condition", 1, 1))
        self.change(source, "UPDATE condition_occurrence SET condition_start_date = ? WHERE rowid = 2", stored)
        error = refusal(source)
        where = f"table `condition_occurrence` of `{source['path']}`"
        assert error.message == f"column `condition_start_date` of {where} holds no date in 1 record"

    def test_records_that_nobody_looks_for_may_hold_anything(self, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().event(7, "condition", 2, 1))
        self.change(source, "UPDATE condition_occurrence SET condition_start_date = ? WHERE rowid = 2", SECRET)
        assert set(table(source)) == {7}

    @pytest.mark.parametrize(
        ("column", "of"), [("value_as_number", "a number"), ("measurement_concept_id", "a whole number")]
    )
    def test_text_where_a_number_belongs(self, column: str, of: str, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().value(7, 30, -1, 5.0))
        self.change(source, f"UPDATE measurement SET {column} = ?", SECRET)
        error = refusal(source, fields={"x": {"take": "mean", **window("measurement", [30], -9, 0)}})
        where = f"column `{column}` of table `measurement` of `{source['path']}`"
        assert error.message == f"{where} holds text where {of} belongs in 1 record"

    def change(self, source: dict[str, str], statement: str, value: Any) -> None:
        with closing(sqlite3.connect(source["path"])) as connection, connection:
            connection.execute(statement, (value,))

    def test_a_damaged_database_is_refused(self, tmp_path: Path) -> None:
        cdm = one_person()
        for day in range(2000):
            cdm.event(7, "condition", 1, day)
        source = write_sqlite(tmp_path, cdm)
        path = Path(source["path"])
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xaa" * (len(content) - len(content) // 2)
        path.write_bytes(content)
        assert refusal(source).message == f"`{path}` cannot be read by SQLite: SQLITE_CORRUPT"


class TestExport:
    def changed(self, tmp_path: Path, cdm: Cdm, name: str, old: bytes, new: bytes) -> dict[str, str]:
        source = write_csv(tmp_path, cdm)
        path = Path(source["path"]) / f"{name}.csv"
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
        return source

    @pytest.mark.parametrize("written", ["2020-02-30", "01.03.2020", SECRET, "20201301", "2020-3-1"])
    def test_what_is_no_date_is_refused_with_its_row(self, written: str, tmp_path: Path) -> None:
        cdm = one_person().event(7, "condition", 2, 5).event(7, "condition", 1, 9)
        source = self.changed(tmp_path, cdm, "condition_occurrence", b"2020-03-10", written.encode())
        where = f"column `condition_start_date` of `{source['path']}/condition_occurrence.csv`"
        assert refusal(source).message == f"{where} holds something that is not a date in row 3"

    def test_a_missing_date_is_refused_with_its_row(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "condition_occurrence", b"2020-03-01", b"")
        assert refusal(source).message.endswith("holds nothing in row 1")

    def test_a_number_that_is_none_is_refused_with_its_row(self, tmp_path: Path) -> None:
        cdm = one_person().value(7, 30, -2, 1.0).value(7, 30, -1, 12.25)
        fields = {"x": {"take": "mean", **window("measurement", [30], -9, 0)}}
        for written in ("12,25", "12.25 kg", SECRET, "nan", "inf"):
            source = self.changed(tmp_path, cdm, "measurement", b"12.25", f'"{written}"'.encode())
            assert refusal(source, fields=fields).message == (
                f"column `value_as_number` of `{source['path']}/measurement.csv`"
                " holds something that is not a number in row 2"
            )
        source = self.changed(tmp_path, cdm, "measurement", b"12.25", b"+1.2e1")
        assert table(source, fields=fields)[7]["x"] == 6.5

    def test_an_id_that_is_none_is_refused_with_its_row(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", SECRET.encode() + b",8507")
        assert refusal(source).message.endswith("person.csv` holds something that is not a whole number in row 1")
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", b"7.0,8507.")
        assert table(source, fields={"sex": {"person": "sex"}})[7]["sex"] == "male"

    def test_a_ragged_file_is_refused(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", b"7,8507,8")
        assert "row 1 has 8 fields, the header 7" in refusal(source).message

    def test_two_files_for_one_table_are_refused(self, tmp_path: Path) -> None:
        source = write_csv(tmp_path, one_person())
        (Path(source["path"]) / "Person.CSV").write_bytes(csv_text("person", []))
        assert refusal(source).message == f"`{source['path']}` has two files for the table `person`"

    def test_a_truncated_archive_is_refused(self, tmp_path: Path) -> None:
        source = write_zip(tmp_path, one_person())
        path = Path(source["path"])
        path.write_bytes(path.read_bytes()[:-50])
        assert refusal(source).message == f"`{path}` is not a readable zip archive"

    def test_a_damaged_archive_is_refused(self, tmp_path: Path) -> None:
        source = write_zip(tmp_path, one_person())
        path = Path(source["path"])
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("CONDITION_OCCURRENCE.csv")
        content = bytearray(path.read_bytes())
        start = info.header_offset + 30 + len(info.filename)
        content[start : start + info.compress_size] = b"\xaa" * info.compress_size
        path.write_bytes(content)
        assert refusal(source).message == f"`{path}/CONDITION_OCCURRENCE.csv` cannot be unpacked"

    def test_a_folder_inside_the_archive_does_no_harm(self, tmp_path: Path) -> None:
        source = write_csv(tmp_path, one_person())
        with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
            for path in Path(source["path"]).iterdir():
                archive.write(path, f"2020/cdm/{path.name}")
        assert set(table({"kind": "csv-folder", "path": str(tmp_path / "nested.zip")})) == {7}


def _entry(concepts: list[int], domain: str = "condition") -> dict[str, Any]:
    return {"domain": domain, "concepts": concepts}
