# SPDX-License-Identifier: Apache-2.0
"""What a FHIR resource has to say: numbers, codes, words, documents, narratives."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from cloister.records.fhir.value import UnusableError, code_of, document_of, narrative_of, number_of, words_of
from tests.records.fhir_export import Resource, concept, patient, quantity, table, write_ndjson


def attachment(text: str | bytes, kind: str = "text/plain") -> Resource:
    data = text if isinstance(text, bytes) else text.encode()
    return {"contentType": kind, "data": base64.b64encode(data).decode()}


def letter(identity: str, *attachments: Resource, about: str = "Patient/a", **more: Any) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": identity,
        "status": "current",
        "subject": {"reference": about},
        "content": [{"attachment": each} for each in attachments],
        **more,
    }


@pytest.mark.parametrize(
    ("node", "unit", "number"),
    [
        ({}, None, None),
        ({"valueInteger": 3}, None, "3"),
        ({"valueInteger": 0}, None, "0"),
        ({"valueQuantity": quantity(1.5)}, None, "1.5"),
        ({"valueQuantity": quantity(0)}, "mm[Hg]", "0"),
        ({"valueQuantity": {"value": 2, "unit": "kg"}}, "kg", "2"),
        ({"valueQuantity": {"unit": "kg"}}, None, None),
        ({"valueQuantity": {**quantity(2), "comparator": ">"}}, None, None),
        ({"valueString": "2"}, None, None),
    ],
)
def test_numbers(node: Resource, unit: str | None, number: str | None) -> None:
    assert number_of(node, unit) == number


@pytest.mark.parametrize("node", [{"valueInteger": 3}, {"valueQuantity": quantity(1)}, {"valueQuantity": {"value": 1}}])
def test_a_number_in_another_unit_or_in_none(node: Resource) -> None:
    with pytest.raises(UnusableError):
        number_of(node, "kPa")


def test_codes_and_words() -> None:
    never = {"valueCodeableConcept": concept("http://snomed.info/sct", "266919005", "Never smoker")}
    assert (code_of(never), words_of(never)) == ("266919005", "Never smoker")
    shown = {"valueCodeableConcept": {"coding": [{"code": "1"}, {"code": "2", "display": "two"}]}}
    assert (code_of(shown), words_of(shown)) == ("1", "two")
    assert (code_of({"valueString": "x"}), words_of({"valueString": "x"})) == (None, "x")
    assert (code_of({}), words_of({})) == (None, None)


class TestDocuments:
    def test_plain_text_and_html(self) -> None:
        html = "<html><head><title>no</title></head><body><p>One&nbsp;&lt; two</p>\n"
        html += "<ul><li>a<li>b</ul><script>no()</script>end"
        assert document_of(letter("1", attachment("Grüße\nzwei"))) == "Grüße\nzwei"
        assert document_of(letter("1", attachment(html, "text/html; charset=UTF-8"))) == "One < two\na\nb\nend"
        assert (
            document_of(letter("1", attachment("caf\xe9".encode("latin-1"), "text/plain;charset=iso-8859-1"))) == "café"
        )

    def test_the_first_that_holds_text(self) -> None:
        pdf, elsewhere = attachment(b"%PDF", "application/pdf"), {"contentType": "text/plain", "url": "Binary/1"}
        assert document_of(letter("1", pdf, elsewhere, attachment("here"), attachment("there"))) == "here"
        assert document_of(letter("1", pdf, elsewhere)) is None

    def test_reports(self) -> None:
        assert document_of({"presentedForm": [attachment("form")], "conclusion": "no"}) == "form"
        assert document_of({"presentedForm": [{"url": "x"}], "conclusion": "well"}) == "well"
        assert document_of({}) is None

    @pytest.mark.parametrize(
        "bad",
        [
            attachment(b"caf\xe9"),
            attachment("x", "text/plain; charset=utf-7"),
            attachment("x", "text/plain; charset=idna"),
            {"contentType": "text/plain", "data": "a"},
            {"contentType": "text/plain", "data": "!!!!"},
        ],
    )
    def test_bytes_that_are_no_text(self, bad: Resource) -> None:
        with pytest.raises(UnusableError):
            document_of(letter("1", bad))

    def test_as_columns(self, tmp_path: Path) -> None:
        write_ndjson(tmp_path / "lake" / "Patient.ndjson", patient("a"), patient("b"))
        write_ndjson(
            tmp_path / "lake" / "DocumentReference.ndjson",
            letter("1", attachment("new"), date="2020-01-01T00:00:00Z", type=concept("http://loinc.org", "18842-5")),
            letter("2", attachment("old"), date="2010-01-01T00:00:00Z"),
            letter("3", attachment(b"\xff"), about="Patient/b"),
        )
        note = {"take": "latest", "resource": "DocumentReference", "value": "document"}
        fields = {"note": note, "summary": {**note, "code": ["http://loinc.org|18842-5"]}}
        assert table(tmp_path, fields, maximum_broken_share=0.4) == [("new", "new"), (None, None)]
        own = {"who": {"path": "subject.reference"}, "note": {"value": "document"}}
        # One whose text is of no use is broken as a whole.
        rows = table(tmp_path, own, "DocumentReference", maximum_broken_share=0.4)
        assert rows == [("Patient/a", "new"), ("Patient/a", "old"), (None, None)]


def test_narratives() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><b>Eva</b> &amp; co<br/>two</div>'
    assert narrative_of({"text": {"status": "generated", "div": div}}) == "Eva & co\ntwo"
    assert narrative_of({}) is None
