# SPDX-License-Identifier: Apache-2.0
"""Of pictures, a view holds values and places, of the rows that the filter lets through, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pydicom.uid import generate_uid

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewManifest, ViewRequest, write_view
from cloister.row_filter import parse
from cloister.silos import Dataset
from tests.records.dicom_writers import picture, write_dicom

KEY = b"k" * 32
CANARY = "ZEBRA"
FIELDS = {"person": "PatientID", "modality": "Modality", "age": "PatientAge", "site": "InstitutionName"}
COLUMNS: dict[str, Any] = {
    "scan": {"kind": "image"},
    "person": {"kind": "identifier"},
    "modality": {"kind": "category", "values": ["CT", "MR"]},
    "age": {"kind": "number", "minimum": 0, "maximum": 120},
    "site": {"kind": "identifier"},
    "finding": {"kind": "category", "values": ["no", "yes"]},
    "report": {"kind": "text"},
}
FILTERS = {
    "age >= 40": lambda age, modality: age >= 40,
    "modality == 'CT'": lambda age, modality: modality == "CT",
    "not (modality == 'CT') or age < 20": lambda age, modality: modality == "MR" or age < 20,
}

studies = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 80), st.sampled_from(["CT", "MR"]), st.booleans(), st.booleans()),
    min_size=12,
    max_size=20,
)


def written(folder: Path, table: list[tuple[int, int, str, bool, bool]]) -> None:
    lines = ["name,finding,report"]
    for number, (person, age, modality, positive, burned) in enumerate(table):
        name = f"{CANARY}^{person}/{number}.dcm"
        header: dict[str, Any] = {
            "PatientID": f"{CANARY}-{person}",
            "PatientName": f"{CANARY}^{person}",
            "InstitutionName": CANARY,
            "PatientAge": f"{age:03}Y",
            "Modality": modality,
            "SOPInstanceUID": generate_uid(),
            "SeriesDescription": f"{CANARY} series",
            "BurnedInAnnotation": "YES" if burned else "NO",
        }
        data = picture(np.full((3, 4), 1000 + number, np.int16), **header)
        data.add_new(0x00091001, "LO", CANARY)
        write_dicom(folder / "scans" / name, data)
        lines.append(f"{name},{'yes' if positive else 'no'},{CANARY} was here")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def dicom() -> Dataset:
    connector = {
        "kind": "dicom",
        "path": "scans",
        "unit": "instance",
        "image": "scan",
        "fields": FIELDS,
        "retain": ["patient-characteristics"],
        "table": "labels.csv",
        "key": {"column": "name", "field": "file"},
    }
    tree = {"connector": connector, "columns": COLUMNS, "person": "person", "maximum_rejected_share": 1.0}
    return Dataset.model_validate_json(json.dumps(tree))


def ask(declared: Dataset, root: Path, wanted: DatasetRef, text: str | None = None) -> ViewManifest:
    request = ViewRequest(wanted, seed=3, where=parse(text) if text is not None else None)
    return write_view(declared, request, key=KEY, root=root, folder=root / "view", name="scans")


def records(folder: Path) -> list[dict[str, Any]]:
    return [
        row for side in ("train", "validation") for row in parquet.read_table(folder / f"{side}.parquet").to_pylist()
    ]


@pytest.mark.slow
@given(table=studies, text=st.sampled_from(sorted(FILTERS)))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_but_pixels_and_granted_columns(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[int, int, str, bool, bool]], text: str
) -> None:
    root = tmp_path_factory.mktemp("scans")
    written(root, table)
    passing = [(number, row) for number, row in enumerate(table) if FILTERS[text](row[1], row[2])]
    expected = Counter((1000 + number, "yes" if row[3] else "no") for number, row in passing if not row[4])
    wanted = DatasetRef(name="scans", image="scan", label="finding", labels=("no", "yes"), validation_share=0.3)
    try:
        manifest = ask(dicom(), root, wanted, text)
    except RecordsError as error:
        assert CANARY not in str(error)
        people = {row[0] for _, row in passing if not row[4]}
        assert not expected or "to train on" in error.message or len(people) < 2, error
        assert not (root / "view").exists()
        return
    assert (manifest.rows, manifest.filtered) == (len(table), len(table) - len(passing))
    assert manifest.rejected == sum(row[4] for _, row in passing)
    got = records(root / "view")
    assert {key for row in got for key in row} == {"scan", "finding"}
    images = [nibabel.load(root / "view" / row["scan"]) for row in got]
    assert (
        Counter((int(image.dataobj[0, 0]), row["finding"]) for image, row in zip(images, got, strict=True)) == expected
    )
    assert all(image.shape == (4, 3) and image.affine[0, 0] == -0.25 for image in images)
    files = [path for path in (root / "view").rglob("*") if path.is_file()]
    assert len(files) == len(got) + 3
    for path in files:
        assert CANARY.encode() not in path.read_bytes()
        assert CANARY not in path.name
    assert CANARY not in json.dumps(manifest.to_json())


def test_images_and_masks_of_nifti_files(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    elsewhere = np.diag([1.0, 2.0, 3.5, 1.0])
    lines = ["person,scan,mask"]
    for number in range(12):
        values = np.full((4, 4, 4), number, np.int16)
        image = nibabel.Nifti1Image(values, affine)
        image.header["descrip"] = CANARY
        image.to_filename(tmp_path / "scans" / f"{CANARY}{number}.nii.gz")
        size = (4, 4, 5) if number == 3 else (4, 4, 4)
        mask = nibabel.Nifti1Image(np.ones(size, np.uint8), elsewhere if number == 7 else affine)
        mask.to_filename(tmp_path / "scans" / f"{CANARY}{number}-mask.nii")
        lines.append(f"{CANARY}{number},{CANARY}{number}.nii.gz,{CANARY}{number}-mask.nii")
    lines.append(f"{CANARY},../{CANARY}.nii,{CANARY}0-mask.nii")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = {
        "connector": {"kind": "nifti", "path": "scans", "table": "index.csv"},
        "columns": {"person": {"kind": "identifier"}, "scan": {"kind": "image"}, "mask": {"kind": "image"}},
        "person": "person",
        "maximum_rejected_share": 0.5,
    }
    declared = Dataset.model_validate_json(json.dumps(tree))
    wanted = DatasetRef(name="scans", image="scan", mask="mask", labels=("background", "organ"), validation_share=0.3)
    manifest = ask(declared, tmp_path, wanted)
    assert (manifest.rows, manifest.rejected) == (13, 3)  # of another size, elsewhere, outside of the folder
    got = records(tmp_path / "view")
    assert len(got) == 10
    for row in got:
        image, mask = (nibabel.load(tmp_path / "view" / row[column]) for column in ("scan", "mask"))
        assert int(image.dataobj[0, 0, 0]) not in (3, 7)
        assert np.array_equal(image.affine, affine)
        assert np.asanyarray(mask.dataobj).min() == 1
    for path in (tmp_path / "view").rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()

    strict = declared.model_copy(update={"maximum_rejected_share": 0.1})
    with pytest.raises(RecordsError) as caught:
        write_view(strict, ViewRequest(wanted, seed=3), key=KEY, root=tmp_path, folder=tmp_path / "other", name="scans")
    assert CANARY not in str(caught.value)
    assert "3 of 13 rows" in caught.value.message
