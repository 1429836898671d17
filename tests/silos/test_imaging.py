# SPDX-License-Identifier: Apache-2.0
"""What a silo document may say of folders of pictures."""

from __future__ import annotations

import pytest

from cloister.documents import parse
from cloister.errors import InvalidDocumentsError
from cloister.silos import DicomConnector, NiftiConnector, Silo, Window

TEXT = """\
site: north
organisation: o
datasets:
  scans:
    connector: CONNECTOR
    columns:
      who: { kind: identifier }
      scan: { kind: image }
"""
DICOM = "kind: dicom, path: scans, unit: instance, image: scan"


def read(connector: str) -> DicomConnector | NiftiConnector:
    silo = parse(TEXT.replace("CONNECTOR", f"{{ {connector} }}").encode(), Silo, name="north.yaml").value
    found = silo.datasets["scans"].connector
    assert isinstance(found, DicomConnector | NiftiConnector)
    return found


def test_nifti() -> None:
    found = read("kind: nifti, path: scans, table: index.csv")
    assert found == NiftiConnector(kind="nifti", path="scans", table="index.csv")


def test_what_is_not_said_is_strict() -> None:
    found = read(DICOM)
    assert isinstance(found, DicomConnector)
    assert (found.burned_in, found.retain, found.window, found.fields) == ("refuse", (), "none", {})


def test_everything() -> None:
    found = read(
        DICOM.replace("instance", "series")
        + ", fields: { who: PatientID, age: PatientAge }, retain: [patient-characteristics, full-dates]"
        ", burned_in: accept, window: { centre: 40, width: 400 }, table: labels.csv"
        ", key: { column: accession, field: AccessionNumber }"
    )
    assert isinstance(found, DicomConnector)
    assert found.window == Window(centre=40, width=400)
    assert found.fields == {"who": "PatientID", "age": "PatientAge"}
    assert found.key is not None
    assert found.key.field == "AccessionNumber"
    assert read(f"{DICOM}, window: from-file").window == "from-file"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("connector", "wrong"),
    [
        ("kind: nifti, path: scans", "missing key `datasets.scans.connector.table`"),
        ("kind: dicom, path: scans, image: scan", "missing key `datasets.scans.connector.unit`"),
        (DICOM.replace("instance", "study"), "should be 'instance' or 'series'"),
        (f"{DICOM}, fields: {{ who: patient id }}", "must be the keyword of a DICOM attribute"),
        (f"{DICOM}, fields: {{ scan: PatientID }}", "fills `scan` twice"),
        (f"{DICOM}, table: labels.csv", "needs both `table` and `key`, or neither"),
        (f"{DICOM}, key: {{ column: name, field: file }}", "needs both `table` and `key`, or neither"),
        (f"{DICOM}, table: l.csv, key: {{ column: name, field: PatientName }}", "should be 'SOPInstanceUID'"),
        (f"{DICOM}, retain: [device-identity]", "should be 'patient-characteristics' or 'full-dates'"),
        (f"{DICOM}, burned_in: ignore", "should be 'refuse' or 'accept'"),
        (f"{DICOM}, window: {{ centre: 40 }}", "missing key `datasets.scans.connector.window.width`"),
        (f"{DICOM}, window: {{ centre: 40, width: 0 }}", "should be greater than or equal to 1"),
        (f"{DICOM}, window: {{ centre: .nan, width: 10 }}", "`datasets.scans.connector.window.centre`"),
        (f"{DICOM}, window: wide", "`datasets.scans.connector.window`"),
        (
            DICOM.replace("instance", "series") + ", table: l.csv, key: { column: name, field: file }",
            "may not have `file` as its `key`",
        ),
        (
            DICOM.replace("instance", "series") + ", table: l.csv, key: { column: name, field: SOPInstanceUID }",
            "may not have `SOPInstanceUID` as its `key`",
        ),
    ],
)
def test_mistakes_are_named(connector: str, wrong: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(connector)
    found = [problem.message for problem in caught.value.problems]
    assert any(wrong in message for message in found), found
