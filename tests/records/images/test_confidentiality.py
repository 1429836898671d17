# SPDX-License-Identifier: Apache-2.0
"""The basic confidentiality profile: the table, what may fill a column, text in pictures, and that nothing gets out."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    generate_uid,
)

from cloister.errors import RecordsError
from cloister.records.images.confidentiality import PRIVATE, action_on, check_field, findings, may_have_text, table
from cloister.silos import Column, ColumnKind
from tests.records.dicom_writers import picture, rows, store, write_dicom

RETAIN_ALL = ("patient-characteristics", "full-dates")


def column(kind: ColumnKind | str) -> Column:
    values = {"values": ["a", "b"]} if kind == "category" else {}
    return Column.model_validate({"kind": str(kind), **values}, strict=False)


class TestTable:
    def test_how_many_attributes_there_are_of_each_action(self) -> None:
        """Of PS3.15 2026c; a row that is lost or changed is seen here."""
        assert Counter(action.basic for action in table().values()) == {
            "X": 415,
            "D": 93,
            "U": 55,
            "Z": 42,
            "X/D": 23,
            "X/Z": 11,
            "X/Z/D": 8,
            "Z/D": 6,
            "X/Z/U*": 2,
        }
        assert Counter(option for action in table().values() for option in action.kept_by) == {
            "full-dates": 165,
            "patient-characteristics": 10,
        }

    @pytest.mark.parametrize(
        ("keyword", "basic", "kept_by"),
        [
            ("PatientName", "Z", set()),
            ("PatientID", "Z/D", set()),
            ("PatientBirthDate", "Z", set()),
            ("PatientSex", "Z", {"patient-characteristics"}),
            ("PatientAge", "X", {"patient-characteristics"}),
            ("StudyDate", "Z", {"full-dates"}),
            ("StudyInstanceUID", "U", set()),
            ("InstitutionName", "X/Z/D", set()),
            ("AccessionNumber", "Z", set()),
            ("OperatorsName", "X/Z/D", set()),
            ("ContentSequence", "D", set()),
            ("StationName", "X/Z/D", set()),
        ],
    )
    def test_attributes_that_everybody_knows(self, keyword: str, basic: str, kept_by: set[str]) -> None:
        action = action_on(Tag(keyword))
        assert action is not None
        assert (action.keyword, action.basic, action.kept_by) == (keyword, basic, kept_by)

    @pytest.mark.parametrize("keyword", ["Modality", "Rows", "PixelSpacing", "Manufacturer", "BodyPartExamined", "KVP"])
    def test_attributes_that_the_profile_keeps(self, keyword: str) -> None:
        assert action_on(Tag(keyword)) is None

    @pytest.mark.parametrize("tag", [0x60003000, 0x601E3000, 0x60024000, 0x50000005, 0x50FE3000])
    def test_overlays_and_curves_of_every_group(self, tag: int) -> None:
        action = action_on(Tag(tag))
        assert action is not None
        assert action.basic == "X"

    def test_keywords_are_those_of_the_dictionary(self) -> None:
        for action in table().values():
            if "X" not in action.tag and (known := keyword_for_tag(Tag(int(action.tag, 16)))):
                assert action.keyword == known


class TestFields:
    @pytest.mark.parametrize("kind", [kind for kind in ColumnKind if kind is not ColumnKind.IDENTIFIER])
    @pytest.mark.parametrize(
        "keyword", ["PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "SOPInstanceUID"]
    )
    def test_what_the_profile_never_keeps_fills_identifiers_alone(self, keyword: str, kind: ColumnKind) -> None:
        with pytest.raises(RecordsError) as caught:
            check_field("x", column(kind), keyword, RETAIN_ALL, "scans")
        assert caught.value.message == (
            f"column `x` of `scans` is filled from `{keyword}`, "
            "which DICOM's basic confidentiality profile does not keep"
        )
        assert caught.value.hint == "declare the column as an identifier"
        check_field("x", column("identifier"), keyword, (), "scans")

    @pytest.mark.parametrize(
        ("keyword", "kind", "option"),
        [
            ("PatientAge", "number", "patient-characteristics"),
            ("PatientSex", "category", "patient-characteristics"),
            ("StudyDate", "date", "full-dates"),
        ],
    )
    def test_an_option_must_be_asked_for(self, keyword: str, kind: str, option: str) -> None:
        other = tuple(set(RETAIN_ALL) - {option})
        with pytest.raises(RecordsError) as caught:
            check_field("x", column(kind), keyword, other, "scans")
        assert caught.value.hint == f"declare the column as an identifier, or add `{option}` to `retain`"
        check_field("x", column(kind), keyword, (option,), "scans")

    @pytest.mark.parametrize("kind", ["text", "spans", "messages"])
    @pytest.mark.parametrize("keyword", ["Manufacturer", "BodyPartExamined", "KVP", "Modality"])
    def test_nothing_fills_free_text(self, keyword: str, kind: str) -> None:
        with pytest.raises(RecordsError, match=f"is filled from `{keyword}`, and is of kind {kind}"):
            check_field("x", column(kind), keyword, RETAIN_ALL, "scans")

    def test_free_text_fills_nothing(self) -> None:
        """Of all attributes of the standard, whatever the profile says of them."""
        for entry in DicomDictionary.values():
            representation, keyword = entry[0], entry[4]
            if keyword and representation in (
                "LT",
                "ST",
                "UT",
                "UC",
                "PN",
                "UR",
                "UI",
                "AE",
                "TM",
                "SQ",
                "OB",
                "OW",
                "UN",
            ):
                for kind in ColumnKind:
                    if kind is not ColumnKind.IDENTIFIER:
                        with pytest.raises(RecordsError):
                            check_field("x", column(kind), keyword, RETAIN_ALL, "scans")

    @pytest.mark.parametrize(
        "keyword", ["PixelData", "OtherPatientIDsSequence", "PatientNam", "RedPaletteColorLookupTableData"]
    )
    def test_what_is_no_single_value_fills_nothing(self, keyword: str) -> None:
        with pytest.raises(RecordsError, match=f"is filled from `{keyword}`, which"):
            check_field("x", column("identifier"), keyword, RETAIN_ALL, "scans")

    def test_a_store_with_such_a_column_cannot_be_opened(self, tmp_path: Path) -> None:
        write_dicom(tmp_path / "scans" / "a.dcm", picture())
        with pytest.raises(RecordsError, match="basic confidentiality profile"):
            store(tmp_path, {"site": {"kind": "category", "values": ["a", "b"]}}, fields={"site": "InstitutionName"})


class TestTextInPictures:
    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            ({}, False),
            ({"BurnedInAnnotation": "YES"}, True),
            ({"BurnedInAnnotation": "NO"}, False),
            ({"BurnedInAnnotation": "PERHAPS"}, True),
            ({"SOPClassUID": SecondaryCaptureImageStorage}, True),
            ({"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}, False),
            ({"SOPClassUID": UltrasoundImageStorage}, True),
            ({"SOPClassUID": None}, True),
            ({"Modality": "US"}, True),
            ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
            ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN_SAVE"]}, True),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, False),
        ],
        ids=str,
    )
    def test_which_pictures_may_have_some(self, attributes: dict[str, Any], expected: bool) -> None:
        assert may_have_text(picture(**attributes)) is expected

    def test_they_are_counted_and_refused_unless_accepted(self, tmp_path: Path) -> None:
        write_dicom(tmp_path / "scans" / "a.dcm", picture(BurnedInAnnotation="YES"))
        write_dicom(tmp_path / "scans" / "b.dcm", picture(SeriesInstanceUID=generate_uid()))
        for unit in ("instance", "series"):
            found = store(tmp_path, unit=unit)
            assert [row["scan"] for row in rows(found)] == ["a.dcm", "b.dcm"]
            assert found.survey.with_text == 1
            with pytest.raises(RecordsError) as caught:
                found.read_image("a.dcm")
            assert caught.value.message == "file 1 of `scans` may have text in its picture"
            assert found.read_image("b.dcm").values.size == 24
            assert store(tmp_path, unit=unit, burned_in="accept").read_image("a.dcm").values.size == 24

    def test_one_slice_of_a_series_is_enough(self, tmp_path: Path) -> None:
        for number in range(3):
            stated = "YES" if number == 1 else "NO"
            data = picture(ImagePositionPatient=[0, 0, number], BurnedInAnnotation=stated)
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        with pytest.raises(RecordsError, match="file 2 of `scans` may have text"):
            store(tmp_path, unit="series").read_image("0.dcm")


def test_findings_count_attributes_by_name() -> None:
    data = picture(PatientName="Canary^One", AccessionNumber="", StudyDate="20240101")
    item = copy.deepcopy(picture(PatientName="Canary^Two"))
    data.add_new(0x00540016, "SQ", [item])  # radiopharmaceutical information: kept, but what is in it is not
    data.add_new(0x00091001, "LO", "Canary")
    data.add_new(0x60003000, "OW", b"ab")
    found = findings(data)
    assert found["PatientName"] == 2
    assert found["PatientID"] == 2
    assert found["StudyDate"] == 1
    assert found["OverlayData"] == 1
    assert found[PRIVATE] == 1
    assert "AccessionNumber" not in found
    assert not found.keys() & {"Modality", "Rows"}


CANARIES = {
    "LO": "canary lo", "SH": "canary sh", "ST": "canary st", "LT": "canary lt", "UT": "canary ut", "UC": "canary uc",
    "PN": "Canary^Pn", "CS": "CANARY CS", "AE": "CANARYAE", "UI": "1.2.77777", "DA": "19770707", "TM": "070707.7",
    "DT": "19770707070707.7", "AS": "077Y", "IS": "77777", "DS": "77777.5", "UR": "http://canary.example",
    "US": 7777, "UL": 7777777, "SL": -7777777, "SS": -7777, "FL": 77777.5, "FD": 77777.5, "OB": b"canary",
    "UN": b"canary", "OW": b"canary", "OF": b"canary!!", "OD": b"canary!!", "OL": b"canary!!", "OV": b"canary!!",
    "UV": 77777777777, "SV": -77777777777,
}  # fmt: skip
"""A value of every kind that is found again, wherever it got to."""

TOLD = ("canary", "1.2.77777", "19770707", "1977-07-07", "07:07:07", "070707", "7777")


def planted() -> Dataset:
    """A picture with a canary in every attribute of the standard that does not say how the picture is stored."""
    data = picture()
    kept = {element.tag for element in data} - {Tag("PatientID")}
    # What would make another picture of it, not another header.
    forms = (
        "Rescale",
        "Pixel",
        "Palette",
        "LUT",
        "Waveform",
        "FunctionalGroups",
        "Smallest",
        "Largest",
        "DoseGrid",
        "Window",
    )
    for tag, (_, multiplicity, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if tag in kept or not keyword or retired or group in (0x0000, 0x0002, 0x0028, 0x7FE0, 0xFFFE):
            continue
        representation = dictionary_VR(tag)
        if representation not in CANARIES or any(form in keyword for form in forms) or keyword in _OF_THE_PICTURE:
            continue
        count = int(multiplicity.split("-")[0]) if multiplicity[0].isdigit() else 1
        value = CANARIES[representation]
        data.add_new(tag, representation, value if count == 1 or isinstance(value, bytes) else [value] * count)
    inside = Dataset()
    for keyword in ("PatientName", "PatientID", "PersonName"):
        inside.add_new(Tag(keyword), dictionary_VR(Tag(keyword)), CANARIES[dictionary_VR(Tag(keyword))])
    data.add_new(Tag("OtherPatientIDsSequence"), "SQ", [inside])
    data.add_new(Tag("IconImageSequence"), "SQ", [copy.deepcopy(picture(np.full((2, 2), 7777, np.int16)))])
    data.add_new(0x00091001, "LO", "canary private")
    data.add_new(0x60003000, "OW", b"canary overlay")
    data.add_new(0x60000022, "LO", "canary overlay")
    data.add_new(0x50003000, "OW", b"canary curve!!")
    return data


_OF_THE_PICTURE = {
    "NumberOfFrames",
    "Modality",
    "SpacingBetweenSlices",
    "SliceThickness",
    "SpecificCharacterSet",
    "BurnedInAnnotation",
}


def told(*given: object) -> set[str]:
    text = " ".join(map(str, given)).lower()
    return {canary for canary in TOLD if canary in text}


class TestNothingGetsOut:
    """A canary in every attribute of the header, and none in a cell, a volume, a count, or a refusal."""

    COLUMNS: ClassVar[dict[str, Any]] = {
        "modality": {"kind": "category", "values": ["CT", "MR"]},
        "rows": {"kind": "integer"},
        "spacing": {"kind": "number"},
    }
    FIELDS: ClassVar[dict[str, str]] = {"modality": "Modality", "rows": "Rows", "spacing": "SpacingBetweenSlices"}

    def opened(self, folder: Path, **connector: Any) -> Any:
        return store(folder, self.COLUMNS, fields=self.FIELDS, **connector)

    def test_the_canaries_are_there(self, tmp_path: Path) -> None:
        data = planted()
        assert len(data) > 2000
        assert told(data) == set(TOLD) - {"1977-07-07", "07:07:07"}
        assert sum(findings(data).values()) > 450

    @pytest.mark.parametrize("unit", ["instance", "series"])
    def test_in_what_a_store_gives(self, unit: str, tmp_path: Path) -> None:
        data = planted()
        data.SeriesInstanceUID = "1.2.77777"
        write_dicom(tmp_path / "scans" / "a.dcm", data)
        found = self.opened(tmp_path, unit=unit)
        (row,) = rows(found, "scan", *self.COLUMNS)
        assert row == {"scan": "a.dcm", "modality": "CT", "rows": "6", "spacing": None}
        assert not told(found.survey)
        volume = found.read_image("a.dcm")
        assert volume.values.reshape(4, 6).T.tolist() == np.arange(24).reshape(6, 4).tolist()
        assert vars(volume).keys() == {"values", "affine"}
        assert not told(volume.values.tolist(), volume.affine.tolist())

    def test_in_the_file_that_the_view_would_write(self, tmp_path: Path) -> None:
        write_dicom(tmp_path / "scans" / "a.dcm", planted())
        volume = self.opened(tmp_path).read_image("a.dcm")
        nibabel.Nifti1Image(volume.values, volume.affine).to_filename(tmp_path / "out.nii")
        assert b"canary" not in (tmp_path / "out.nii").read_bytes().lower()
        assert b"canary" in (tmp_path / "scans" / "a.dcm").read_bytes().lower()

    @pytest.mark.parametrize(
        "broken",
        [
            {"PhotometricInterpretation": "CANARY CS"},
            {"Rows": 7777},
            {"Columns": 7777},
            {"BitsAllocated": 7777},
            {"NumberOfFrames": 7777},
            {"PixelSpacing": [7777, -7777]},
            {"ImageOrientationPatient": [7777] * 6},
            {"ImagePositionPatient": [7777] * 2},
            {"WindowCenter": 7777},
            {"BurnedInAnnotation": "CANARY CS"},
            {"SOPClassUID": "1.2.77777"},
            {"SeriesInstanceUID": None},
            {"RescaleSlope": "7777e300", "RescaleIntercept": "77777"},
        ],
        ids=str,
    )
    def test_in_a_refusal(
        self,
        broken: dict[str, Any],
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        recwarn: pytest.WarningsRecorder,
    ) -> None:
        data = planted()
        for keyword, value in broken.items():
            setattr(data, keyword, value) if value is not None else delattr(data, keyword)
        write_dicom(tmp_path / "scans" / "a.dcm", data)
        recwarn.clear()
        with pytest.raises(RecordsError) as caught:
            found = self.opened(tmp_path, unit="series", window="from-file")
            for row in rows(found, "scan"):
                found.read_image(row["scan"])
        assert caught.value.message.startswith("file 1 of `scans` ")
        printed = capfd.readouterr()
        chain = (caught.value.__cause__, None if caught.value.__suppress_context__ else caught.value.__context__)
        assert not told(
            caught.value, caught.value.hint, *chain, printed.out, printed.err, *[w.message for w in recwarn]
        )

    @pytest.mark.slow
    def test_in_refusals_of_damaged_files(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        whole = write_dicom(tmp_path / "scans" / "a.dcm", planted()).read_bytes()
        refused = 0
        for keep in range(140, len(whole), len(whole) // 60):
            (tmp_path / "scans" / "a.dcm").write_bytes(whole[:keep])
            try:
                found = self.opened(tmp_path)
                for row in rows(found, "scan", "modality"):
                    found.read_image(row["scan"])
            except RecordsError as error:
                refused += 1
                assert not told(error, error.hint, error.__cause__)
        assert refused > 55
        printed = capfd.readouterr()
        assert not told(printed.out, printed.err)


def test_the_class_is_taken_from_the_meta_group_where_the_data_set_has_none(tmp_path: Path) -> None:
    data = picture(SOPClassUID=None)
    write_dicom(tmp_path / "scans" / "a.dcm", data)
    assert data.file_meta.MediaStorageSOPClassUID == CTImageStorage
    assert not may_have_text(data)
