# SPDX-License-Identifier: Apache-2.0
"""A folder of DICOM files as a table: rows, columns, the table beside it, and what is no picture."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, ClassVar

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from cloister.errors import RecordsError
from cloister.records.schema import conform
from cloister.silos import Column, ColumnKind
from tests.records.dicom_writers import PERSON, picture, rows, store, write_dicom

IDENTIFIER = {"kind": "identifier"}


def three(folder: Path) -> None:
    for name, age in (("b/2.dcm", "010Y"), ("a.dcm", "018M"), ("b/10.dcm", "095Y")):
        data = picture(SOPInstanceUID=f"1.2.{len(name)}", PatientAge=age, SeriesInstanceUID=generate_uid())
        write_dicom(folder / "scans" / name, data)


class TestRows:
    def test_rows_are_files_in_the_order_of_their_paths(self, tmp_path: Path) -> None:
        three(tmp_path)
        found = store(tmp_path, {"who": IDENTIFIER}, fields={"who": "PatientID"})
        assert found.column_names() == ("scan", "who")
        expected = [{"who": PERSON, "scan": name} for name in ("a.dcm", "b/10.dcm", "b/2.dcm")]
        assert rows(found, "who", "scan") == expected
        assert rows(found, "who", "scan") == expected
        assert rows(found, "who") == [{"who": PERSON}] * 3
        assert found.survey.files == 3

    def test_a_column_that_there_is_not(self, tmp_path: Path) -> None:
        three(tmp_path)
        with pytest.raises(RecordsError, match="`scans` has no column `wo`"):
            store(tmp_path, {"wo": IDENTIFIER}, fields={"who": "PatientID"})

    def test_a_class_that_is_written_oddly_is_not_quoted(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write_dicom(tmp_path / "scans" / "a.dcm", picture())
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008<Canary>1.1."))
        recwarn.clear()
        for unit in ("instance", "series"):
            assert rows(store(tmp_path, unit=unit)) == [{"scan": "a.dcm"}]
        assert not recwarn.list
        assert not caplog.records

    def test_rows_come_in_batches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        three(tmp_path)
        monkeypatch.setattr("cloister.records.images.dicom.BATCH_ROWS", 2)
        assert [batch.num_rows for batch in store(tmp_path).batches(["scan"])] == [2, 1]


class TestFields:
    @pytest.mark.parametrize(
        ("keyword", "written", "kind", "cell"),
        [
            ("PatientAge", "045Y", "number", 45.0),
            ("PatientAge", "018M", "number", 1.5),
            ("PatientAge", "010D", "number", 0.0274),
            ("PatientAge", "089Y", "number", 89.0),
            ("PatientAge", "090Y", "number", 90.0),
            ("PatientAge", "104Y", "integer", 90),
            ("PatientAge", "45", "number", 45.0),
            ("PatientAge", "very", "number", None),
            ("PatientSex", "F", "category", "F"),
            ("PatientSex", PERSON, "category", None),
            ("PatientSize", "1.75", "number", 1.75),
            ("StudyDate", "20240229", "date", "2024-02-29"),
            ("StudyDate", "2024.02.28", "date", "2024-02-28"),
            ("StudyDate", "20240230", "date", None),
            ("AcquisitionDateTime", "20240229121314.5", "timestamp", "2024-02-29 12:13:14.500000+00:00"),
            ("Rows", 6, "integer", 6),
            ("KVP", "120", "number", 120.0),
            ("ReconstructionDiameter", None, "number", None),
            ("ImageType", ["F", "M"], "category", "F\\M"),
            ("FilterType", "F ", "category", "F"),
            ("LossyImageCompression", "01", "boolean", None),
            ("TableHeight", "1\\2", "number", None),
            ("SliceLocation", "1e999", "number", None),
        ],
    )
    def test_a_field_becomes_what_its_column_declares(
        self, keyword: str, written: Any, kind: str, cell: Any, tmp_path: Path
    ) -> None:
        with pydicom.config.disable_value_validation():
            write_dicom(tmp_path / "scans" / "a.dcm", picture(**{keyword: written}))
        column: dict[str, Any] = {"kind": kind}
        if kind == "category":
            column["values"] = ["F", "M", "F\\M"]
        found = store(tmp_path, {"x": column}, fields={"x": keyword}, retain=["patient-characteristics", "full-dates"])
        (batch,) = found.batches(["x"])
        typed = conform(batch.column("x"), Column.model_validate(column, strict=False)).cells
        (value,) = typed.to_pylist()
        assert (str(value) if kind in ("date", "timestamp") and value is not None else value) == cell

    @pytest.mark.parametrize(
        ("keyword", "kind"), [("EchoTime", "number"), ("EchoNumbers", "integer"), ("KVP", "number")]
    )
    def test_a_field_that_is_no_number_spoils_its_own_cell_alone(
        self, keyword: str, kind: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        path = write_dicom(tmp_path / "scans" / "a.dcm", picture(EchoTime="12345678", EchoNumbers="12345678"))
        path.write_bytes(path.read_bytes().replace(b"12345678", b"Canary^1"))
        found = store(tmp_path, {"x": {"kind": kind}}, fields={"x": keyword})
        (batch,) = found.batches(["x", "scan"])
        typed = conform(batch.column("x"), Column.model_validate({"kind": kind}, strict=False))
        assert typed.cells.to_pylist() == [None]
        assert typed.invalid.to_pylist() == [keyword != "KVP"]
        assert found.read_image("a.dcm").values.size == 24
        assert not recwarn.list

    def test_files_of_a_series_that_say_different_things_say_nothing(self, tmp_path: Path) -> None:
        for number in range(2):
            data = picture(ImagePositionPatient=[0, 0, number], InstanceNumber=number, KVP=120)
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        columns = {"number": {"kind": "integer"}, "volts": {"kind": "number"}}
        found = store(tmp_path, columns, unit="series", fields={"number": "InstanceNumber", "volts": "KVP"})
        assert rows(found, "number", "volts") == [{"number": None, "volts": "120"}]


class TestTable:
    COLUMNS: ClassVar[dict[str, Any]] = {"label": {"kind": "category", "values": ["yes", "no"]}, "who": IDENTIFIER}

    def joined(self, folder: Path, text: str, key: str = "file", **connector: Any) -> list[dict[str, Any]]:
        three(folder)
        (folder / "labels.csv").write_text(text, encoding="utf-8")
        join = {"table": "labels.csv", "key": {"column": "name", "field": key}}
        found = store(folder, self.COLUMNS, fields={"who": "PatientID"}, **join, **connector)
        return rows(found, "label", "scan")

    def test_rows_are_found_by_the_files_name(self, tmp_path: Path) -> None:
        found = self.joined(tmp_path, "name,label\nb/2.dcm,yes\nb/10.dcm,no\nc.dcm,no\n")
        assert [(row["scan"], row["label"]) for row in found] == [
            ("a.dcm", None),
            ("b/10.dcm", "no"),
            ("b/2.dcm", "yes"),
        ]

    def test_rows_are_found_by_a_field_that_is_no_column(self, tmp_path: Path) -> None:
        found = self.joined(tmp_path, "name,label\n1.2.7,yes\n1.2.5,no\n,no\n", "SOPInstanceUID")
        assert [row["label"] for row in found] == ["no", None, "yes"]

    def test_one_row_may_be_of_many_pictures(self, tmp_path: Path) -> None:
        assert [row["label"] for row in self.joined(tmp_path, f"name,label\n{PERSON},yes\n", "PatientID")] == [
            "yes"
        ] * 3

    def test_one_picture_may_not_be_of_many_rows(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError) as caught:
            self.joined(tmp_path, f"name,label\n{PERSON},yes\nx,no\n{PERSON},no\n", "PatientID")
        assert caught.value.message == "column `name` of `labels.csv` has in row 3 what an earlier row has"

    def test_a_series_is_found_by_its_number(self, tmp_path: Path) -> None:
        number = "1.2.3.4"
        write_dicom(tmp_path / "scans" / "z.dcm", picture(SeriesInstanceUID=number))
        found = self.joined(tmp_path, f"name,label\n{number},yes\n", "SeriesInstanceUID", unit="series")
        assert [row["label"] for row in found] == [None, None, None, "yes"] or found[1]["label"] == "yes"

    def test_the_key_may_not_be_a_column_that_a_job_can_ask_for(self, tmp_path: Path) -> None:
        three(tmp_path)
        (tmp_path / "labels.csv").write_text("who,label\n", encoding="utf-8")
        join = {"table": "labels.csv", "key": {"column": "who", "field": "PatientID"}}
        with pytest.raises(RecordsError, match="is the key to its pictures"):
            store(tmp_path, {"who": {"kind": "category", "values": ["a", "b"]}}, **join)
        assert rows(store(tmp_path, {"who": IDENTIFIER}, **join), "who") == [{"who": None}] * 3

    def test_a_table_that_is_missing(self, tmp_path: Path) -> None:
        three(tmp_path)
        with pytest.raises(RecordsError, match=r"`no\.csv` does not exist"):
            store(tmp_path, table="no.csv", key={"column": "name", "field": "file"})


class TestFiles:
    def test_what_is_no_picture_is_counted(self, tmp_path: Path) -> None:
        three(tmp_path)
        (tmp_path / "scans" / "readme.txt").write_text("about these scans", encoding="utf-8")
        (tmp_path / "scans" / "empty").touch()
        report = Dataset()
        report.SOPClassUID, report.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.88.11"), generate_uid()
        write_dicom(tmp_path / "scans" / "report.dcm", report)
        directory = Dataset()
        directory.SOPClassUID = UID("1.2.840.10008.1.3.10")
        write_dicom(tmp_path / "scans" / "DICOMDIR", directory)
        found = store(tmp_path)
        assert len(rows(found)) == 3
        assert (found.survey.files, found.survey.others) == (3, 4)

    def test_nothing_but_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "scans").mkdir()
        found = store(tmp_path)
        with pytest.raises(RecordsError, match="`scans` holds no files"):
            rows(found)
        (tmp_path / "scans" / "readme.txt").write_text("about these scans", encoding="utf-8")
        with pytest.raises(RecordsError) as caught:
            rows(found)
        assert caught.value.message == (
            "`scans` holds no DICOM images: 1 files are something else, such as file 1 of `scans`"
        )

    def test_a_folder_that_is_missing_or_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="`scans` does not exist"):
            store(tmp_path)
        (tmp_path / "scans").touch()
        with pytest.raises(RecordsError, match="`scans` is a file, not a folder"):
            store(tmp_path)

    @pytest.mark.parametrize("keep", [133, 150, 200, 300])
    def test_a_header_that_is_cut_off_refuses_the_store(self, keep: int, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "scans" / "a.dcm", picture())
        path.write_bytes(path.read_bytes()[:keep])
        found = store(tmp_path)
        with pytest.raises(RecordsError) as caught:
            for row in rows(found):
                found.read_image(row["scan"])
        assert caught.value.message.startswith("file 1 of `scans` ")

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        three(tmp_path)
        outside = write_dicom(tmp_path / "elsewhere" / "secret.dcm", picture())
        (tmp_path / "scans" / "link.dcm").symlink_to(outside)
        (tmp_path / "scans" / "folder").symlink_to(outside.parent)
        (tmp_path / "scans" / "round").symlink_to(tmp_path / "scans")
        os.mkfifo(tmp_path / "scans" / "pipe.dcm")
        found = store(tmp_path)
        assert len(rows(found)) == 3
        for name in ("link.dcm", "folder/secret.dcm", "../elsewhere/secret.dcm", str(outside), "pipe.dcm", "", "."):
            with pytest.raises(RecordsError):
                found.read_image(name)

    @pytest.mark.parametrize("depth", [40, 2000, 20_000])
    @pytest.mark.parametrize("lengths", ["stated", "open"])
    def test_deep_nesting_is_refused(self, depth: int, lengths: str, tmp_path: Path) -> None:
        """Written by hand, because pydicom takes for ever to write it; it took as long to read it."""
        if lengths == "open":
            begin, end = (
                b"SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
                b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
            )
            inner = (b"\x08\x00\x40\x11" + begin) * depth + end * depth
        else:
            inner = b"".join(
                b"\x08\x00\x40\x11SQ\0\0"
                + struct.pack("<I", 20 * left + 8)
                + b"\xfe\xff\x00\xe0"
                + struct.pack("<I", 20 * left)
                for left in reversed(range(depth))
            )
        path = write_dicom(tmp_path / "scans" / "a.dcm", picture())
        whole = path.read_bytes()
        at = whole.index(b"\x10\x00\x20\x00LO")
        path.write_bytes(whole[:at] + inner + whole[at:])
        with pytest.raises(RecordsError) as caught:
            rows(store(tmp_path))
        assert caught.value.message == "file 1 of `scans` is a damaged DICOM file: its header makes no sense"


class TestDeclaration:
    @pytest.mark.parametrize(
        "kind", [kind.value for kind in ColumnKind if kind not in (ColumnKind.IMAGE, ColumnKind.CATEGORY)]
    )
    def test_the_image_is_of_kind_image(self, kind: str, tmp_path: Path) -> None:
        three(tmp_path)
        with pytest.raises(RecordsError, match="column `scan` of `scans` is of kind"):
            store(tmp_path, {"scan": {"kind": kind}})

    def test_there_is_one_image(self, tmp_path: Path) -> None:
        three(tmp_path)
        with pytest.raises(RecordsError, match="column `mask` of `scans` is of kind image"):
            store(tmp_path, {"mask": {"kind": "image"}}, fields={"mask": "PatientID"})
