# SPDX-License-Identifier: Apache-2.0
"""FHIR columns made of several resources: what is taken, and which of them count."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.contract import SECRET, everything
from tests.records.fhir_export import (
    CONDITIONS,
    ID,
    Resource,
    concept,
    condition,
    lake,
    observation,
    patient,
    pressure,
    quantity,
    refused,
    store,
    systolic,
    table,
    urn,
    write_bundle,
    write_ndjson,
)


class TestOfSeveral:
    def test_what_is_taken_of_several(self, tmp_path: Path) -> None:
        lake(
            tmp_path,
            pressure("2", "Patient/a", "2012-01-01", 120),
            pressure("1", "Patient/a", "2011-12-31T23:59:59-05:00", 130),  # later, as UTC has it
            pressure("3", "Patient/a", "2010", 90),
            observation("4", "Patient/a", "8480-6", "2011-05", valueQuantity=quantity(140)),
            pressure("5", "Patient/b", "2010-01-01", 99.5),
            observation("6", "Patient/b", "8462-4", "2020-01-01", valueQuantity=quantity(1)),
            *map(patient, "abc"),
        )
        fields = {name: systolic(name) for name in ("first", "latest", "mean", "minimum", "maximum")}
        fields |= {"many": {k: v for k, v in systolic("count").items() if k != "value"}}
        assert table(tmp_path, fields) == [
            ("90", "130", "120.0", "90", "140", "4"),
            ("99.5", "99.5", "99.5", "99.5", "99.5", "1"),
            (None, None, None, None, None, "0"),
        ]

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_the_order_of_the_files_decides_nothing(self, order: tuple[int, ...], tmp_path: Path) -> None:
        same = [pressure(str(n), "Patient/a", "2012-01-01T00:00:00Z", 100 + n) for n in range(3)]
        lake(tmp_path, *[same[n] for n in order], patient("a"))
        assert table(tmp_path, {name: systolic(name) for name in ("first", "latest")}) == [("100", "102")]

    def test_one_without_a_moment_gives_way(self, tmp_path: Path) -> None:
        lake(tmp_path, pressure("1", "Patient/a", "", 1), pressure("2", "Patient/a", "2012", 2), patient("a"))
        assert table(tmp_path, {name: systolic(name) for name in ("first", "latest")}) == [("2", "2")]

    def test_since_and_until(self, tmp_path: Path) -> None:
        days = ("2009-12-31T23:59:59Z", "2010-01-01", "2014-12-31T20:00:00-04:00", "2015-01-01", "")
        lake(tmp_path, *[pressure(f"{n}", "Patient/a", day, n) for n, day in enumerate(days)], patient("a"))
        window = {"since": "2010-01-01", "until": "2015-01-01"}
        fields = {"low": systolic("minimum", **window), "high": systolic("maximum", **window)}
        fields["ever"] = systolic("maximum")
        fields["before"] = systolic("maximum", until="2010-01-01")
        assert table(tmp_path, fields) == [("1", "1", "4", "0")]

    def test_codes_and_where(self, tmp_path: Path) -> None:
        active = {"clinicalStatus": {"coding": [{"code": "active"}]}}
        two = condition("3", "Patient/b", "1")
        two["code"]["coding"].append({"system": "http://snomed.info/sct", "code": "44054006"})
        other = condition("4", "Patient/c")
        other["code"]["coding"][0]["system"] = "http://hl7.org/fhir/sid/icd-10"
        lake(tmp_path, condition("1", "Patient/a", **active), condition("2", "Patient/a"), two, other)
        write_ndjson(tmp_path / "lake" / "Patient.ndjson", *map(patient, "abc"))
        code = {"resource": "Condition", "code": ["http://snomed.info/sct|44054006", "http://snomed.info/sct|0"]}
        fields = {
            "any": CONDITIONS,
            "many": {"take": "count", **code},
            "ever": {"take": "exists", **code},
            "now": {"take": "exists", **code, "where": {"clinicalStatus.coding.code": ["active", "recurrence"]}},
        }
        assert table(tmp_path, fields) == [
            ("2", "2", "true", "true"),
            ("1", "1", "true", "false"),
            ("1", "0", "false", "false"),
        ]

    def test_what_says_that_it_never_was_is_left_out(self, tmp_path: Path) -> None:
        refuted = {"verificationStatus": {"coding": [{"code": "refuted"}]}}
        lake(
            tmp_path,
            condition("1", "Patient/a", **refuted),
            condition("2", "Patient/a"),
            pressure("3", "Patient/a", "2012", 1, status="entered-in-error"),
            patient("a"),
        )
        made = store(tmp_path, {"many": CONDITIONS, "systolic": systolic("latest")})
        assert everything(made, "many", "systolic") == [("1", None)]
        assert made.withdrawn == {"Condition": 1, "Observation": 1, "Patient": 0}

    @pytest.mark.parametrize("status", ["not-done", "not-taken", "cancelled", "declined"])
    def test_what_was_not_done_is_left_out_where_no_column_asks_for_it(self, status: str, tmp_path: Path) -> None:
        def given(identity: str, status: str) -> Resource:
            return condition(identity, "Patient/a") | {"resourceType": "Procedure", "status": status}

        lake(tmp_path, given("1", status), given("2", "completed"), patient("a"))
        done = {"take": "count", "resource": "Procedure"}
        made = store(tmp_path, {"done": done})
        assert everything(made, "done") == [("1",)]
        assert made.withdrawn == {"Procedure": 1, "Patient": 0}
        fields = {"done": done, "undone": {**done, "where": {"status": [status]}}}
        assert table(tmp_path, fields) == [("1", "1")]
        assert table(tmp_path, ID, "Procedure") == [("2",)]

    def test_what_is_not_to_be_done_is_left_out(self, tmp_path: Path) -> None:
        order = condition("1", "Patient/a") | {"resourceType": "ServiceRequest", "status": "active", "intent": "order"}
        lake(tmp_path, order, order | {"id": "2", "doNotPerform": True}, patient("a"))
        assert table(tmp_path, {"many": {"take": "count", "resource": "ServiceRequest"}}) == [("1",)]

    @pytest.mark.parametrize("inside", [False, True])
    def test_what_an_unknown_extension_changes_brings_nothing(self, inside: bool, tmp_path: Path) -> None:
        changed = {"modifierExtension": [{"url": f"http://x.org/{SECRET}", "valueBoolean": True}]}
        made = pressure("2", "Patient/a", "2020", 99)
        (made["component"][0] if inside else made).update(changed)
        lake(tmp_path, pressure("1", "Patient/a", "2012", 120), made, patient("a"))
        assert table(tmp_path, {"systolic": systolic("latest")}, maximum_broken_share=0.5) == [("120",)]
        assert "1 are no valid FHIR or have no value of use" in refused(tmp_path, {"x": systolic("latest")}).message

    @pytest.mark.parametrize(
        ("when", "before", "since"),
        [("2020", "0", "0"), ("2020-05", "1", "0"), ("2020-06", "0", "1"), ("2021", "0", "1")],
    )
    def test_a_year_or_a_month_counts_where_all_of_it_lies_in_the_window(
        self, when: str, before: str, since: str, tmp_path: Path
    ) -> None:
        lake(tmp_path, pressure("1", "Patient/a", when, 120), patient("a"))
        many = {"take": "count", "resource": "Observation"}
        fields = {"before": {**many, "until": "2020-06-01"}, "since": {**many, "since": "2020-06-01"}}
        assert table(tmp_path, fields) == [(before, since)]

    def test_a_quantity_in_another_unit_cannot_be_used(self, tmp_path: Path) -> None:
        odd = observation("2", "Patient/a", "8480-6", "2020", valueQuantity=quantity(16, "kPa"))
        lake(tmp_path, pressure("1", "Patient/a", "2012", 120), odd, patient("a"))
        fields = {"systolic": systolic("latest", unit="mm[Hg]")}
        assert table(tmp_path, fields, maximum_broken_share=0.5) == [("120",)]
        assert (
            "of 2 resources `Observation` that are used from `lake`, 1 are no valid"
            in refused(tmp_path, fields).message
        )

    @pytest.mark.parametrize("odd", [quantity(16, "kPa"), {"value": 16}])
    @pytest.mark.parametrize("take", ["first", "latest", "mean", "maximum"])
    def test_numbers_of_which_no_unit_is_stated_are_in_one(
        self, odd: dict[str, object], take: str, tmp_path: Path
    ) -> None:
        other = observation("2", "Patient/b", "8480-6", "2020", valueQuantity=odd)
        lake(tmp_path, pressure("1", "Patient/a", "2012", 120), other, patient("a"), patient("b"))
        assert refused(tmp_path, {"systolic": systolic(take)}).message == (
            "line 2 of `lake/Observation.ndjson` brings column `systolic` a number in another unit than before"
        )
        assert table(tmp_path, {"many": {k: v for k, v in systolic("count").items() if k != "value"}}) == [
            ("1",),
            ("1",),
        ]

    def test_numbers_of_rows_of_their_own_are_in_one_unit_too(self, tmp_path: Path) -> None:
        each = [
            observation(n, "Patient/a", "1", valueQuantity=quantity(1, unit))
            for n, unit in (("1", "g"), ("2", "g"), ("3", "kg"))
        ]
        lake(tmp_path, *each[:2])
        assert table(tmp_path, {"mass": {"value": "number"}}, "Observation") == [("1",), ("1",)]
        lake(tmp_path, *each[1:])
        assert "column `mass` a number" in refused(tmp_path, {"mass": {"value": "number"}}, "Observation").message

    def test_a_bound_of_a_number_is_none(self, tmp_path: Path) -> None:
        below = observation("2", "Patient/a", "8480-6", "2020", valueQuantity={**quantity(5), "comparator": "<"})
        absent = observation("3", "Patient/a", "8480-6", "2021", dataAbsentReason=concept("x", "unknown"))
        lake(tmp_path, pressure("1", "Patient/a", "2012", 120), below, absent, patient("a"))
        assert table(tmp_path, {"systolic": systolic("latest"), "mean": systolic("mean")}) == [("120", "120.0")]

    def test_a_mean_needs_numbers(self, tmp_path: Path) -> None:
        lake(tmp_path, observation("1", "Patient/a", "1", valueString=SECRET), patient("a"))
        said = {"take": "mean", "resource": "Observation", "path": "valueString"}
        assert "1 are no valid FHIR or have no value of use" in refused(tmp_path, {"said": said}).message


class TestTwice:
    def test_the_same_counts_once(self, tmp_path: Path) -> None:
        once = [patient("a", gender="male"), condition("1", "Patient/a")]
        write_bundle(tmp_path / "lake" / "x.json", *once, urls=True)
        write_ndjson(tmp_path / "lake" / "y.ndjson", *once, dict(reversed(once[0].items())))
        assert table(tmp_path, {"patient_id": {"path": "id"}, "many": CONDITIONS}) == [("a", "1")]

    def test_another_of_that_name_refuses_the_store(self, tmp_path: Path) -> None:
        lake(tmp_path, patient("a"), patient("a", gender="male"))
        message = "line 2 of `lake/Patient.ndjson` is another `Patient` of an id or address that was there before"
        assert refused(tmp_path, {"sex": {"path": "gender"}}).message == message
        assert table(tmp_path, ID) == [("a",)]  # what differs is of no column
        lake(tmp_path, patient("a"), patient("b"), condition("1", "Patient/a"), condition("1", "Patient/b"))
        assert "is another `Condition`" in refused(tmp_path, {"many": CONDITIONS}).message
        assert table(tmp_path, ID) == [("a",), ("b",)]

    def test_one_that_bears_another_address_in_each_bundle(self, tmp_path: Path) -> None:
        one, other = patient("a", gender="male"), condition("2", urn(11), encounter={"reference": "Encounter/e"})
        write_bundle(tmp_path / "lake" / "x.json", one, condition("1", urn(0)), urls=True)
        write_bundle(
            tmp_path / "lake" / "y.json", {"resourceType": "Organization", "id": "o"}, one, other, urls=True, first=10
        )
        fields = {"patient_id": {"path": "id"}, "many": CONDITIONS}
        assert table(tmp_path, fields) == [("a", "2")]
        sexes = {"id": {"path": "id"}, "sex": {"path": "gender", "resource": "Patient"}}
        assert table(tmp_path, sexes, "Condition") == [("1", "male"), ("2", "male")]

    def test_one_address_is_of_one_resource(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "lake" / "x.json", patient("a"), urls=True)
        write_bundle(tmp_path / "lake" / "y.json", patient("b"), urls=True)
        assert "entry 1 of file 2 of 2 in `lake` is another `Patient`" in refused(tmp_path).message
