# SPDX-License-Identifier: Apache-2.0
"""A dataset of images, looked through; tables are tried in tests/cli/test_data_check.py."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from cloister.jobs import DatasetRef
from cloister.records import ViewRequest
from cloister.records.examine import Examination, examine, request_of_all
from cloister.silos import Dataset

CANARY = "Zebedee"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    for number in range(6):
        image = nibabel.Nifti1Image(np.full((4, 4, 2), number, np.int16), np.eye(4))
        image.to_filename(tmp_path / "scans" / f"{number}.nii")
    return tmp_path


def looked_at(root: Path, names: list[str]) -> Examination:
    rows = "".join(f"p{number},{name}\n" for number, name in enumerate(names))
    (root / "index.csv").write_text(f"who,scan\n{rows}", encoding="utf-8")
    dataset = Dataset.model_validate(
        {
            "connector": {"kind": "nifti", "path": "scans", "table": "index.csv"},
            "columns": {"who": {"kind": "identifier"}, "scan": {"kind": "image"}},
            "person": "who",
            "maximum_rejected_share": 0.5,
        },
        strict=False,
    )
    whole = request_of_all(dataset, "scans", ("who", "scan"))
    assert whole is not None
    assert whole.view == ("scan",)
    job = ViewRequest(DatasetRef(name="scans", image="scan"), 0)
    return examine(dataset, whole, {"job": job}, name="scans", key=bytes(32), root=root, tick=lambda _: None)


def test_images_that_are_no_good_are_told_by_row_and_reason(root: Path) -> None:
    (root / "scans" / "3.nii").write_bytes(CANARY.encode() * 50)
    found = looked_at(root, [f"{number}.nii" for number in range(6)])
    assert found.whole.refused is None
    assert found.whole.tally is not None
    assert (found.whole.tally.kept, found.whole.tally.rejected_by) == (5, {"scan": 1})
    assert len(found.images) == 1
    assert found.images[0].startswith("the image in row 4 of `index.csv` is not a NIfTI file")
    assert CANARY not in found.images[0]
    assert found.jobs["job"].tally is not None
    assert found.jobs["job"].tally.kept == 5


@pytest.mark.parametrize("cell", [CANARY, f"../{CANARY}", f"{CANARY} was here.nii"])
def test_a_cell_that_names_no_file_is_not_repeated(root: Path, cell: str) -> None:
    found = looked_at(root, [*(f"{number}.nii" for number in range(6)), cell])
    assert len(found.images) == 1
    assert CANARY not in found.images[0]


def test_nothing_is_written(root: Path) -> None:
    looked_at(root, ["0.nii", "1.nii"])
    assert sorted(path.name for path in root.iterdir()) == ["index.csv", "scans"]
    assert sorted(path.name for path in (root / "scans").iterdir()) == [f"{number}.nii" for number in range(6)]


def test_rows_without_a_text_are_counted_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text('note,age\na cough,1\n,2\n" ",3\na rash,4\n', encoding="utf-8")
    dataset = Dataset.model_validate(
        {
            "connector": {"kind": "csv", "path": "notes.csv"},
            "columns": {"note": {"kind": "text"}, "age": {"kind": "integer"}},
        },
        strict=False,
    )
    whole = request_of_all(dataset, "notes", ("note", "age"))
    assert whole is not None
    found = examine(dataset, whole, {}, name="notes", key=bytes(32), root=tmp_path, tick=lambda _: None)
    assert found.whole.tally is not None
    assert (found.whole.tally.rows, found.whole.tally.rejected, found.whole.tally.kept) == (4, 0, 4)
