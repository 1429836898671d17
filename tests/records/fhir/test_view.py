# SPDX-License-Identifier: Apache-2.0
"""The governed view of a FHIR export: typed, filtered, rejected, and nothing of it that was not asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewManifest, ViewRequest, write_view
from cloister.row_filter import Comparison
from cloister.silos import Dataset
from tests.records.contract import SECRET
from tests.records.fhir_export import Resource, condition, lake, patient, pressure, systolic

FIELDS = {
    "patient_id": {"path": "id"},
    "sex": {"path": "gender"},
    "age": {"age_at": "2024-01-01"},
    "family": {"path": "name.family"},
    "systolic": systolic("latest", unit="mm[Hg]"),
    "diabetes": {"take": "exists", "resource": "Condition", "code": ["http://snomed.info/sct|44054006"]},
}
COLUMNS: dict[str, Any] = {
    "patient_id": {"kind": "identifier"},
    "sex": {"kind": "category", "values": ["female", "male"]},
    "age": {"kind": "integer", "minimum": 0, "maximum": 120},
    "family": {"kind": "text"},
    "systolic": {"kind": "number", "unit": "mm[Hg]"},
    "diabetes": {"kind": "category", "values": ["false", "true"]},
}
WANTED = DatasetRef(name="people", features=("sex", "age", "systolic"), label="diabetes", labels=("false", "true"))


def people(folder: Path, *more: Resource, count: int = 60) -> Path:
    """So many patients aged from 0, every second of whom is male and every third has the condition."""
    made: list[Resource] = []
    for number in range(count):
        sex = ("female", "male")[number % 2]
        name = [{"family": SECRET}]
        made.append(patient(f"p{number}", gender=sex, birthDate=f"{2023 - number}-12-31", name=name))
        made.append(pressure(f"o{number}", f"Patient/p{number}", "2020-01-01", 100 + number))
        if number % 3 == 0:
            made.append(condition(f"c{number}", f"Patient/p{number}"))
    return lake(folder, *made, *more)


def view(folder: Path, *, share: float = 0.1, **request: Any) -> ViewManifest:
    connector = {"kind": "fhir", "path": "lake", "resource": "Patient", "fields": FIELDS, "maximum_broken_share": share}
    declared = {"connector": connector, "columns": COLUMNS, "person": "patient_id", "label": "diabetes"}
    dataset = Dataset.model_validate(declared, strict=False)
    wanted = ViewRequest(wanted=WANTED, seed=7, **request)
    return write_view(dataset, wanted, key=b"k" * 32, root=folder, folder=folder / "view", name="people")


def rows(folder: Path) -> list[dict[str, Any]]:
    sides = (parquet.read_table(folder / "view" / f"{side}.parquet") for side in ("train", "validation"))
    return [row for side in sides for row in side.to_pylist()]


def test_cells_have_the_declared_types_and_only_what_was_asked_for_is_there(tmp_path: Path) -> None:
    manifest = view(people(tmp_path))
    assert (manifest.rows, manifest.rejected, manifest.records) == (60, 0, 60)
    expected = [
        {"sex": ("female", "male")[n % 2], "age": n, "systolic": 100.0 + n, "diabetes": str(n % 3 == 0).lower()}
        for n in range(60)
    ]
    assert sorted(rows(tmp_path), key=lambda row: row["age"]) == expected
    held = b"".join(path.read_bytes() for path in (tmp_path / "view").iterdir())
    assert SECRET.encode() not in held
    assert b"p17" not in held


def test_the_filter_is_asked_of_what_columns_hold(tmp_path: Path) -> None:
    manifest = view(people(tmp_path), where=Comparison("systolic", ">=", 130.0))
    assert (manifest.rows, manifest.filtered, manifest.records) == (60, 30, 30)
    assert min(row["systolic"] for row in rows(tmp_path)) == 130.0


def test_patients_that_are_no_valid_fhir_are_rejected_and_counted(tmp_path: Path) -> None:
    bad = [patient(f"bad{n}", gender="male", birthDate="1950-01-01", unknown=SECRET) for n in range(3)]
    manifest = view(people(tmp_path, *bad))
    assert (manifest.rows, manifest.rejected, manifest.records) == (63, 3, 60)
    with pytest.raises(RecordsError, match="of 63 resources `Patient`"):
        view(people(tmp_path / "more", *bad), share=0.01)
    assert not (tmp_path / "more" / "view").exists()
