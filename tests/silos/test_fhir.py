# SPDX-License-Identifier: Apache-2.0
"""What a silo document may say of FHIR records."""

from __future__ import annotations

import json
from datetime import date

import pytest
import yaml

from cloister.documents import parse
from cloister.errors import InvalidDocumentsError
from cloister.silos import FhirConnector, Silo
from tests.docs.pages import blocks, sections, text_of

TEXT = """\
site: north
organisation: o
datasets:
  people:
    connector:
      kind: fhir
      path: lake
      resource: Patient
      fields:
        who: { path: id }
        value: { FIELD }
    columns:
      who: { kind: identifier }
      value: { kind: number }
"""
MEASURE = "take: latest, resource: Observation, value: number"


def read(field: str, resource: str = "Patient") -> FhirConnector:
    text = TEXT.replace("FIELD", field).replace("resource: Patient", f"resource: {resource}", 1)
    connector = parse(text.encode(), Silo, name="north.yaml").value.datasets["people"].connector
    assert isinstance(connector, FhirConnector)
    return connector


@pytest.mark.parametrize(
    "field",
    [
        "path: 'address[0].city'",
        "value: document",
        "age_at: 2020-01-01",
        "path: gender, resource: Patient, by: 'link.other'",
        "path: name, resource: Organization, by: managingOrganization",
        f"{MEASURE}, unit: 'mm[Hg]', code: ['http://loinc.org|8480-6', 'urn:oid:1.2|a b']",
        "take: count, resource: Condition, since: 2010-01-01, until: 2020-01-01",
        "take: exists, resource: Condition, where: { 'clinicalStatus.coding.code': [active] }",
        "take: mean, resource: Observation, path: valueInteger, by: performer",
    ],
)
def test_what_a_field_may_say(field: str) -> None:
    read(field)


def test_days_are_days() -> None:
    field = read(f"{MEASURE}, since: 2010-01-01").fields["value"]
    assert field.since == date(2010, 1, 1)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("unit: kg", "exactly one of `path`, `value` and `age_at`"),
        ("path: id, value: number", "exactly one of"),
        ("path: 'id.count()'", "is no path into a resource"),
        ("path: id, code: ['a|b']", "may not state `code` without `take`"),
        ("path: id, since: 2010-01-01", "may not state `since` without `take`"),
        ("path: id, where: { status: [final] }", "may not state `where` without `take`"),
        ("path: id, by: subject", "may not state `by` without `resource`"),
        ("take: count", "needs `resource`"),
        ("take: count, resource: Condition, value: number", "may not state `value`, because it takes `count`"),
        ("take: latest, resource: Condition", "exactly one of"),
        ("take: latest, resource: Condition, age_at: 2020-01-01", "may not state `age_at`"),
        ("take: mean, resource: Observation, value: words", "needs numbers"),
        ("take: latest, resource: Observation, value: code, unit: kg", "may not state `unit`"),
        (f"{MEASURE}, code: ['8480-6']", "a code with its system"),
        (f"{MEASURE}, since: 2020-01-01, until: 2020-01-01", "`until` that is not after"),
        (f"{MEASURE}, since: 2020-02-30", "since"),
        ("age_at: 2020-02-30", "is no path"),
        ("age_at: period.start, resource: Encounter", "only a Patient has one"),
        ("path: name, resource: Organization", "needs `by`"),
        ("take: sum, resource: Observation, value: number", "take"),
    ],
)
def test_what_it_may_not(field: str, words: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(field)
    assert words in str(caught.value)


def test_whoever_refers_to_what_has_no_place_of_its_own_says_where() -> None:
    with pytest.raises(InvalidDocumentsError, match="needs `by`"):
        read(MEASURE, resource="Practitioner")
    read(f"{MEASURE}, by: performer", resource="Practitioner")
    read(MEASURE, resource="Encounter")


@pytest.mark.parametrize("name", ["patient", "Pat ient", "../Patient", "P", "Patient2"])
def test_a_resource_is_called_as_in_fhir(name: str) -> None:
    with pytest.raises(InvalidDocumentsError, match="the name of a FHIR resource"):
        read("path: id", resource=name)


def test_fields_are_columns_and_columns_are_fields() -> None:
    text = TEXT.replace("FIELD", "path: gender")
    with pytest.raises(InvalidDocumentsError, match="has a field `value` and declares no such column"):
        parse(text.replace("      value: { kind: number }\n", "").encode(), Silo, name="north.yaml")
    with pytest.raises(InvalidDocumentsError, match="declares column `town` and has no field"):
        parse((text + "      town: { kind: text }\n").encode(), Silo, name="north.yaml")


def test_the_example_of_the_documentation_is_valid() -> None:
    (example,) = (
        block for block in blocks(sections(text_of("docs/records.md"), 2)["FHIR"]) if "kind: fhir" in block.text
    )
    found = yaml.safe_load(example.text)["connector"]
    text = json.dumps(found, default=str)
    assert FhirConnector.model_validate_json(text).fields["age"].age_at == "2024-01-01"
