# SPDX-License-Identifier: Apache-2.0
"""FHIR references, and resources that are broken: who is found, who is counted, who refuses the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError
from tests.records.contract import SECRET, everything
from tests.records.fhir_export import (
    CONDITIONS,
    ID,
    Resource,
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


class TestReferences:
    def test_every_way_to_refer(self, tmp_path: Path) -> None:
        ways = (
            "Patient/a",
            "https://x.org/fhir/Patient/a",
            "Patient/a/_history/3",
            urn(0),
            urn(0).upper().replace("URN:UUID", "urn:uuid"),
        )
        write_bundle(
            tmp_path / "lake" / "x.json",
            patient("a"),
            *[condition(f"c{n}", way) for n, way in enumerate(ways)],
            urls=True,
        )
        assert table(tmp_path, {"many": CONDITIONS}) == [(str(len(ways)),)]

    def test_what_is_referred_to_by_two_names_is_put_together(self, tmp_path: Path) -> None:
        write_bundle(
            tmp_path / "lake" / "x.json",
            patient("a"),
            pressure("1", "Patient/a", "2012", 100),
            pressure("2", urn(0), "2013", 140),
            pressure("3", urn(0), "2011", 150),
            urls=True,
        )
        fields = {take: systolic(take) for take in ("first", "latest", "mean", "minimum", "maximum")}
        assert table(tmp_path, fields) == [("150", "140", "130.0", "100", "150")]

    @pytest.mark.parametrize(
        "about", ["Patient/z", "", "Patient?identifier=1", "#p", "urn:uuid:0-0", f"Patient/{SECRET}", "a"]
    )
    def test_whoever_is_about_nobody_in_the_export_is_counted(self, about: str, tmp_path: Path) -> None:
        lake(tmp_path, condition("1", about, subject={"reference": about}), condition("2", "Patient/a"), patient("a"))
        if not about:
            write_ndjson(
                tmp_path / "lake" / "Condition.ndjson",
                condition("1", "", subject={"display": SECRET}),
                condition("2", "Patient/a"),
            )
        made = store(tmp_path, {"many": CONDITIONS}, maximum_broken_share=0.5)
        assert everything(made, "many") == [("1",)]
        assert made.broken["Condition"] == 1
        error = refused(tmp_path, {"many": CONDITIONS}, maximum_broken_share=0.4)
        assert error.message.startswith("of 2 resources `Condition` that are used from `lake`, ")
        assert error.message.endswith("more than the share 0.4 allowed")

    def test_an_id_counts_on_one_server(self, tmp_path: Path) -> None:
        there = "https://x.org/fhir/Patient/a"
        lake(tmp_path, condition("1", there), condition("2", there), condition("3", "Patient/a"), patient("a"))
        assert table(tmp_path, {"many": CONDITIONS}) == [("3",)]
        lake(tmp_path, condition("1", there), condition("2", "https://y.org/fhir/Patient/a"), patient("a"))
        assert refused(tmp_path, {"many": CONDITIONS}).message == (
            "line 2 of `lake/Condition.ndjson` is of another server than what was read before, or refers to one"
        )
        fields = {"sex": {"path": "gender", "resource": "Patient"}}
        assert "is of another server" in refused(tmp_path, fields, "Condition").message

    def test_an_address_in_a_bundle_names_its_server_too(self, tmp_path: Path) -> None:
        (tmp_path / "lake").mkdir()
        entries = [{"fullUrl": f"https://{host}.org/fhir/Patient/{host}", "resource": patient(host)} for host in "xy"]
        made = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        (tmp_path / "lake" / "x.json").write_text(json.dumps(made))
        assert refused(tmp_path).message == (
            "entry 2 of file 1 of 1 in `lake` is of another server than what was read before, or refers to one"
        )

    def test_what_is_about_something_else_is_about_no_row(self, tmp_path: Path) -> None:
        lake(tmp_path, observation("1", "Device/d", "8480-6", valueQuantity=quantity(1)), patient("a"))
        assert table(tmp_path, {"systolic": systolic("latest")}) == [(None,)]

    def test_a_row_takes_columns_from_whom_it_refers_to(self, tmp_path: Path) -> None:
        def encounter(identity: str, about: str, day: str) -> Resource:
            kind = {"class": {"code": "AMB"}, "status": "finished", "period": {"start": f"{day}T08:00:00+02:00"}}
            return {"resourceType": "Encounter", "id": identity, "subject": {"reference": about}, **kind}

        lake(
            tmp_path,
            encounter("1", "Patient/a", "2000-01-02"),
            encounter("2", "Patient/a", "2001-01-01"),
            encounter("3", "Patient/b", "2001-01-01"),
            condition("c", "Patient/a", encounter={"reference": "Encounter/2"}),
            patient("a", gender="male", birthDate="1950-01-02"),
            patient("b"),
        )
        fields = {
            "visit": {"path": "id"},
            "sex": {"path": "gender", "resource": "Patient"},
            "age": {"age_at": "period.start", "resource": "Patient"},
            "then": {"age_at": "2010-01-02", "resource": "Patient", "by": "subject"},
            "found": CONDITIONS,
        }
        assert table(tmp_path, fields, "Encounter") == [
            ("1", "male", "50", "60", "0"),
            ("2", "male", "50", "60", "1"),
            ("3", None, None, None, "0"),
        ]
        write_ndjson(tmp_path / "lake" / "Patient.ndjson", patient("a"))
        assert "of 3 resources `Encounter`" in refused(tmp_path, fields, "Encounter").message
        assert "1 references lead to what is not in it" in refused(tmp_path, fields, "Encounter").message

    def test_a_row_may_not_refer_to_two(self, tmp_path: Path) -> None:
        lake(
            tmp_path,
            patient("a", generalPractitioner=[{"reference": "Practitioner/1"}, {"reference": "Practitioner/2"}]),
        )
        write_ndjson(
            tmp_path / "lake" / "Practitioner.ndjson", *({"resourceType": "Practitioner", "id": n} for n in "12")
        )
        by = {"resource": "Practitioner", "path": "id", "by": "generalPractitioner"}
        assert "has not one value where column `who` looks" in refused(tmp_path, {"who": by}).message
        assert table(tmp_path, {"who": {**by, "by": "generalPractitioner[1]"}}) == [("2",)]


class TestBrokenResources:
    def test_a_row_of_its_own_has_nothing_in_any_cell(self, tmp_path: Path) -> None:
        bad = [
            patient("bad1", gender="male", unknown=1),
            patient("bad2", gender="male", birthDate="1950-02-30"),
            patient("bad3", gender="male", name={"family": "x"}),
        ]
        lake(tmp_path, patient("a", gender="female"), *bad, condition("c", "Patient/bad1"))
        fields = {"patient_id": {"path": "id"}, "sex": {"path": "gender"}, "many": CONDITIONS}
        made = store(tmp_path, fields, maximum_broken_share=0.75)
        assert everything(made, *fields) == [("a", "female", "0"), *[(None, None, None)] * 3]
        assert made.used == {"Patient": 4, "Condition": 1}
        assert made.broken == {"Patient": 3, "Condition": 0}
        assert refused(tmp_path, fields, maximum_broken_share=0.74).message == (
            "of 4 resources `Patient` that are used from `lake`, 3 are no valid FHIR or have no value of use, and 0 "
            "references lead to what is not in it: more than the share 0.74 allowed"
        )

    @pytest.mark.parametrize(
        "bad",
        [
            {"status": None},
            {"code": SECRET},
            {"code": {"coding": "8480-6"}},
            {"code": {"coding": ["8480-6"]}},
            {"component": SECRET},
            {"component": [SECRET]},
            {"valueQuantity": {"value": SECRET}},
            {"effectiveDateTime": SECRET},
        ],
    )
    def test_one_that_a_column_needs_brings_nothing(self, bad: dict[str, Any], tmp_path: Path) -> None:
        made = {**observation("2", "Patient/a", "8480-6", "2020", valueQuantity=quantity(99)), **bad}
        lake(
            tmp_path,
            pressure("1", "Patient/a", "2012", 120),
            {key: value for key, value in made.items() if value is not None},
            patient("a"),
        )
        fields = {"systolic": systolic("latest")}
        assert table(tmp_path, fields, maximum_broken_share=0.5) == [("120",)]
        assert "1 are no valid FHIR" in refused(tmp_path, fields).message

    def test_what_no_column_asks_for_is_not_checked(self, tmp_path: Path) -> None:
        bad = {**condition("1", "Patient/a", "1"), "unknown": 1}
        lake(tmp_path, bad, patient("a"))
        code = ["http://snomed.info/sct|44054006"]
        assert table(tmp_path, {"has": {**CONDITIONS, "code": code}}) == [("0",)]
        assert refused(tmp_path, {"has": {**CONDITIONS, "code": ["http://snomed.info/sct|1"]}})

    def test_a_resource_that_fhir_does_not_know(self, tmp_path: Path) -> None:
        lake(tmp_path, patient("a"))
        error = refused_lake(tmp_path, {"many": {**CONDITIONS, "resource": "Conditions"}})
        assert error == "FHIR R4 has no resource `Conditions` that could be read"
        assert (
            refused_lake(tmp_path, ID, "MedicinalProduct")
            == "FHIR R4 has no resource `MedicinalProduct` that could be read"
        )


def refused_lake(folder: Path, fields: dict[str, Any], resource: str = "Patient") -> str:
    with pytest.raises(RecordsError) as caught:
        store(folder, fields, resource)
    return caught.value.message
