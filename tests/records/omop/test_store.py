# SPDX-License-Identifier: Apache-2.0
"""OMOP cohorts, on records small enough to know each right answer by hand: who has a row, and how rows are read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records.omop.store import OmopStore
from cloister.records.view.request import ViewRequest, check_request
from cloister.silos import Column, ColumnKind, Dataset
from tests.records.cdm import DAY_0, Cdm, connector, entry, one_person, table, window, write_sqlite


class TestWhoBelongs:
    def test_the_first_event_of_the_set_is_day_0(self, write_cdm: Any) -> None:
        cdm = Cdm()
        for person, days in ((1, (30, 0, 60)), (2, (5,)), (3, ())):
            cdm.person(person).observed(person, -100, 100)
            for day in days:
                cdm.event(person, "condition", 1 if day else 2, day)
        cdm.event(3, "condition", 3, 0)  # of another concept
        cdm.event(2, "drug", 1, 0)  # in another domain
        found = table(write_cdm(cdm), fields={"day": {"index": "date"}}, cohort={"entry": entry([1, 2])})
        assert {who: row["day"] for who, row in found.items()} == {1: DAY_0, 2: date(2020, 3, 6)}

    def test_days_of_observation_before_and_after_count_from_day_0(self, write_cdm: Any) -> None:
        cdm = Cdm()
        periods = {1: (-10, 5), 2: (-9, 5), 3: (-10, 4), 4: (-365, 365), 5: (1, 50), 6: (-50, -1)}
        for person, (first, last) in periods.items():
            cdm.person(person).observed(person, first, last).event(person, "condition", 1, 0)
        assert set(table(write_cdm(cdm), cohort={"prior_days": 10, "follow_up_days": 5})) == {1, 4}
        assert set(table(write_cdm(cdm))) == {1, 2, 3, 4}

    def test_the_period_that_day_0_lies_in_is_the_one_that_counts(self, write_cdm: Any) -> None:
        cdm = one_person(first=-20, last=30).observed(7, -900, -100).observed(7, 200, 900)
        days = {"days": {"take": "time-to", "domain": "death"}}
        assert table(write_cdm(cdm), outcomes=days)[7]["days"] == 30
        assert table(write_cdm(cdm), cohort={"prior_days": 21}) == {}

    def test_a_first_event_outside_of_every_period_is_still_the_first(self, write_cdm: Any) -> None:
        """The second one would be nobody's first."""
        cdm = Cdm().person(7).observed(7, -10, 10).event(7, "condition", 1, -500).event(7, "condition", 1, 0)
        assert table(write_cdm(cdm)) == {}

    def test_descendants_belong_to_the_set_when_asked_for(self, write_cdm: Any) -> None:
        cdm = Cdm()
        for ancestor, descendant in ((1, 1), (1, 11), (1, 111), (2, 2), (2, 22)):
            cdm.add("concept_ancestor", ancestor_concept_id=ancestor, descendant_concept_id=descendant)
        for person, concept in ((1, 1), (2, 11), (3, 111), (4, 22), (5, 2)):
            cdm.person(person).observed(person, -1, 1).event(person, "condition", concept, 0)
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        assert set(table(write_cdm(cdm), cohort={"entry": wide})) == {1, 2, 3}
        assert set(table(write_cdm(cdm))) == {1}
        assert set(table(write_cdm(cdm), cohort={"entry": wide | {"concepts": [1, 2]}})) == {1, 2, 3, 4, 5}

    def test_without_leaves_out_who_had_it_in_the_window(self, write_cdm: Any) -> None:
        cdm = Cdm()
        for person, day in ((1, -31), (2, -30), (3, -1), (4, 0), (5, None)):
            cdm.person(person).observed(person, -100, 100).event(person, "condition", 1, 0)
            cdm.event(person, "condition", 2, day) if day is not None else None
        assert set(table(write_cdm(cdm), cohort={"without": [window("condition", [2], -30, -1)]})) == {1, 4, 5}

    @pytest.mark.parametrize("domain", ["condition", "drug", "procedure", "measurement", "observation", "visit"])
    def test_every_domain_can_begin_it(self, domain: str, write_cdm: Any) -> None:
        cdm = Cdm().person(1).observed(1, -1, 1).event(1, domain, 8, 0).person(2).observed(2, -1, 1)
        assert set(table(write_cdm(cdm), cohort={"entry": entry([8], domain)})) == {1}

    def test_nobody_is_an_empty_table(self, write_cdm: Any) -> None:
        assert table(write_cdm(one_person()), cohort={"entry": entry([404])}) == {}

    def test_who_has_no_person_record_has_no_row(self, write_cdm: Any) -> None:
        assert set(table(write_cdm(one_person().observed(8, -9, 9).event(8, "condition", 1, 0)))) == {7}


FIELDS = {
    "age": {"age": "at-index"},
    "sex": {"person": "sex"},
    "day": {"index": "date"},
    "many": {"take": "count", **window("drug", [5], -9, 0)},
    "mean": {"take": "mean", **window("measurement", [30], -9, 0)},
}
OUTCOMES = {"out": {"take": "exists", **window("drug", [5], 1, 9)}, "days": {"take": "time-to", "domain": "death"}}


class TestTheStore:
    def test_columns_come_typed_and_as_asked(self, write_cdm: Any) -> None:
        store = OmopStore.at(connector(write_cdm(one_person()), fields=FIELDS, outcomes=OUTCOMES), Path("/"))
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
        monkeypatch.setattr("cloister.records.omop.store.BATCH_ROWS", 50)
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
        self, write_cdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setenv("SQLITE_TMPDIR", str(scratch))
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        source = write_cdm(one_person())
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        store = OmopStore.at(connector(source), Path("/"))
        batches = store.batches(["who"])
        next(batches)
        assert list(scratch.iterdir()) == []  # not even while it is open: the files have no names
        batches.close()
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


class TestTheFuture:
    """A job may learn towards an outcome, and describe it; it may not foresee another from it."""

    COLUMNS = (
        ("who", "identifier"),
        ("age", "integer"),
        ("out", "boolean"),
        ("days", "integer"),
        ("event", "boolean"),
    )

    def dataset(self) -> Dataset:
        outcomes = {**OUTCOMES, "event": {"event_of": "days"}}
        declared = connector({"kind": "sqlite", "path": "cdm.sqlite"}, fields=FIELDS, outcomes=outcomes)
        columns = {name: Column(kind=ColumnKind(kind)) for name, kind in self.COLUMNS}
        return Dataset(connector=declared, columns=columns, person="who")

    def check(self, **wanted: Any) -> None:
        check_request(self.dataset(), ViewRequest(DatasetRef(name="cohort", **wanted), seed=1), name="cohort")

    def test_outcomes_are_known_as_such(self) -> None:
        assert self.dataset().foreseen == {"out", "days", "event"}

    def test_an_outcome_is_no_feature(self) -> None:
        self.check(features=("age",), time="days", event="event")
        for feature in ("out", "days"):
            with pytest.raises(RecordsError) as caught:
                self.check(features=("age", feature), event="event")
            said = f"column `{feature}` of dataset `cohort` looks past the index event, and no model is given such"
            assert caught.value.message == said

    def test_an_outcome_can_be_described(self) -> None:
        self.check(features=("age", "out", "days"))

    def test_a_person_id_that_is_no_identifier_is_refused(self) -> None:
        columns = {"who": Column(kind=ColumnKind.INTEGER)}
        with pytest.raises(ValidationError, match="it holds person ids, so its kind must be identifier"):
            Dataset(connector=self.dataset().connector, columns=columns)
