# SPDX-License-Identifier: Apache-2.0
"""Real pictures: what the stores give is what pydicom and MONAI's readers give, and every refusal has its reason."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.images.dicom_file import guarded, read_file, read_header
from cloister.records.images.dicom_series import is_image
from cloister.records.images.dicom_volume import volume_of_file
from cloister.records.images.volume import Volume
from cloister.silos import Dataset
from tests.records.dicom_writers import picture, store, write_dicom

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
MULTIVENDOR, HIPPOCAMPUS = DATA / "dicom_multivendor", DATA / "msd_hippocampus_60"
PYDICOM = Path(pydicom.__file__).parent / "data"

needs_multivendor = pytest.mark.skipif(not MULTIVENDOR.is_dir(), reason="shared/data/dicom_multivendor is not here")
needs_hippocampus = pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="shared/data/msd_hippocampus_60 is not here")


def as_pydicom(path: Path) -> np.ndarray:
    """Rescaled, or in RGB, with columns first and frames third, as a `Volume` has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = pydicom.dcmread(path)
        values = file.pixel_array
        if file.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, file)
            values = (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
        elif file.PhotometricInterpretation == "MONOCHROME1":
            values = apply_modality_lut((1 << file.BitsStored) - 1 - values, file)
        else:
            values = apply_modality_lut(values, file)
        frames = values if int(file.get("NumberOfFrames") or 1) > 1 else values[np.newaxis]
    return frames.transpose(2, 1, 0, *range(3, frames.ndim))


def with_depth(volume: Volume) -> np.ndarray:
    return volume.values if volume.values.ndim > 2 else volume.values[:, :, np.newaxis]


@needs_multivendor
class TestMultivendor:
    def opened(self, **connector: Any) -> Any:
        declared = {"kind": "dicom", "path": MULTIVENDOR.name, "unit": "instance", "image": "scan", **connector}
        columns = {"scan": {"kind": "image"}, "who": {"kind": "identifier"}}
        dataset = Dataset.model_validate(
            {"connector": {**declared, "fields": {"who": "PatientID"}}, "columns": columns}, strict=False
        )
        return open_store(dataset, root=DATA)

    def names(self) -> list[str]:
        return sorted(path.name for path in MULTIVENDOR.glob("*.dcm"))

    def test_every_file_is_decoded_as_pydicom_decodes_it(self) -> None:
        found = self.opened(burned_in="accept")
        listed = [row["scan"] for batch in found.batches(["scan"]) for row in batch.to_pylist()]
        assert listed == self.names()
        assert len(listed) == 21
        for name in listed:
            volume, theirs = found.read_image(name), as_pydicom(MULTIVENDOR / name)
            assert with_depth(volume).shape == theirs.shape, name
            assert np.allclose(with_depth(volume), theirs), name

    def test_those_that_may_have_text_are_refused_with_the_reason(self) -> None:
        found = self.opened()
        refused = {}
        for name in self.names():
            try:
                found.read_image(name)
            except RecordsError as error:
                refused[name] = error.message
        assert {message.split("` ")[1] for message in refused.values()} == {"may have text in its picture"}
        assert not any(name in message for name, message in refused.items())
        assert len(refused) == 12
        assert {"CT_small.dcm", "MR_small_RLE.dcm", "RG3_J2KI.dcm", "liver_j2k.dcm"}.isdisjoint(refused)

    def test_what_the_headers_hold_is_counted_by_name(self) -> None:
        found = self.opened()
        list(found.batches(["scan"]))
        assert (found.survey.files, found.survey.others, found.survey.with_text) == (21, 3, 12)
        counted = found.survey.findings
        assert counted["StudyInstanceUID"] == 21
        assert counted["InstitutionName"] == sum(
            bool(pydicom.dcmread(MULTIVENDOR / name).get("InstitutionName")) for name in self.names()
        )

    def test_series_that_are_no_volumes_are_refused_with_the_reason(self) -> None:
        found = self.opened(unit="series", burned_in="accept")
        outcomes: Counter[str] = Counter()
        for batch in found.batches(["scan"]):
            for row in batch.to_pylist():
                try:
                    found.read_image(row["scan"])
                    outcomes["read"] += 1
                except RecordsError as error:
                    assert error.message.startswith("file ")
                    outcomes[error.message.split("` ")[1]] += 1
        assert outcomes == {
            "read": 11,
            "has two slices at the same place": 1,
            "does not state its position, and its series has other files": 3,
        }


ON_PURPOSE = (
    "is deflated as a whole",
    "has more pixel data than its rows and columns",
    "is cut off",
    "is a radiotherapy dose",
    "holds whole numbers beyond 32 bits",
)
"""Why a file is refused that pydicom decodes."""


def is_decoded_by_pydicom(path: Path) -> bool:
    try:
        as_pydicom(path)
    except Exception:  # noqa: BLE001 - it raises nearly anything
        return False
    return True


def test_every_file_that_comes_with_pydicom_is_decoded_alike_or_refused() -> None:
    """Some 170 files, most of them odd in one way; pydicom tests itself with them."""
    outcomes: Counter[str] = Counter()
    for path in sorted(path for path in PYDICOM.rglob("*") if path.is_file()):
        name = path.name
        try:
            header = read_header(path, name)
            if header is None or not is_image(header):
                outcomes["no picture"] += 1
                continue
            with guarded(name):
                volume = volume_of_file(read_file(path, name), name, "none")
        except RecordsError as error:
            assert error.message.startswith(f"`{name}` ")
            outcomes["refused"] += 1
            assert not is_decoded_by_pydicom(path) or any(words in error.message for words in ON_PURPOSE), error.message
            continue
        assert np.allclose(with_depth(volume), as_pydicom(path)), name
        outcomes["decoded"] += 1
    assert outcomes["decoded"] > 80
    assert outcomes["refused"] > 10


@needs_multivendor
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR2_J2KI.dcm",
        "examples_overlay.dcm",
    ],
)
def test_a_picture_lies_where_monai_says(name: str, tmp_path: Path) -> None:
    from monai.data.image_reader import PydicomReader

    reader = PydicomReader()
    theirs, meta = reader.get_data(reader.read(str(MULTIVENDOR / name)))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / name).write_bytes((MULTIVENDOR / name).read_bytes())
    volume = store(tmp_path).read_image(name)
    assert volume.values.shape == theirs.shape
    assert np.allclose(volume.values, theirs)
    # MONAI gives one picture no depth: its third column is the patient's axis, whatever the direction of the slice.
    in_plane = [0, 1, 3]
    assert np.allclose(volume.affine[:, in_plane], meta["affine"][:, in_plane], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [0.8, 0.6, 0, 0, 0, -1]], ids=str)
def test_a_series_lies_where_monai_says(orientation: list[float], tmp_path: Path) -> None:
    from monai.data.image_reader import PydicomReader

    normal = np.cross(orientation[:3], orientation[3:])
    for number in (3, 0, 2, 1):
        values = (np.arange(30, dtype=np.int16) + 100 * number).reshape(5, 6)
        position = [float(f"{each:.8g}") for each in np.array([1, 2, 3]) + 2.5 * number * normal]
        data = picture(values, ImagePositionPatient=position, ImageOrientationPatient=orientation)
        data.RescaleSlope, data.RescaleIntercept, data.InstanceNumber = 2, -1024, number + 1
        write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
    volume = store(tmp_path, unit="series").read_image("0.dcm")
    reader = PydicomReader()
    theirs, meta = reader.get_data(reader.read(str(tmp_path / "scans")))
    assert np.allclose(volume.affine, meta["affine"], atol=1e-4)
    assert np.array_equal(volume.values, theirs)


@needs_hippocampus
class TestHippocampus:
    def opened(self, folder: Path) -> Any:
        names = sorted(path.name for path in (HIPPOCAMPUS / "imagesTr").glob("*.nii.gz"))
        with (folder / "index.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(
                [("scan", "mask"), *((f"imagesTr/{name}", f"labelsTr/{name}") for name in names)]
            )
        dataset = Dataset.model_validate(
            {
                "connector": {"kind": "nifti", "path": str(HIPPOCAMPUS), "table": str(folder / "index.csv")},
                "columns": {"scan": {"kind": "image"}, "mask": {"kind": "image"}},
            },
            strict=False,
        )
        return open_store(dataset, root=folder)

    def test_every_volume_is_read_as_nibabel_reads_it(self, tmp_path: Path) -> None:
        found = self.opened(tmp_path)
        (batch,) = found.batches(["scan", "mask"])
        assert batch.num_rows == 60
        for row in batch.to_pylist():
            scan, mask = found.read_image(row["scan"]), found.read_image(row["mask"])
            theirs = nibabel.load(HIPPOCAMPUS / row["scan"])
            assert np.array_equal(scan.values, np.asanyarray(theirs.dataobj))
            assert np.array_equal(scan.affine, theirs.affine)
            assert set(np.unique(mask.values)) <= {0, 1, 2}
            assert np.array_equal(mask.values, np.rint(mask.values))  # one of them is stored as float32
            assert scan.values.shape == mask.values.shape
            assert np.allclose(scan.affine, mask.affine)

    @pytest.mark.slow
    def test_a_volume_is_what_monai_reads(self, tmp_path: Path) -> None:
        from monai.data.image_reader import NibabelReader

        found, reader = self.opened(tmp_path), NibabelReader()
        (batch,) = found.batches(["scan"])
        for name in batch.column("scan").to_pylist()[:5]:
            theirs, meta = reader.get_data(reader.read(str(HIPPOCAMPUS / name)))
            volume = found.read_image(name)
            assert np.array_equal(volume.values, theirs)
            assert np.allclose(volume.affine, meta["affine"])
