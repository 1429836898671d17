# SPDX-License-Identifier: Apache-2.0
"""Where pictures lie, and which slices make up a volume."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from cloister.errors import RecordsError
from cloister.records.images.volume import Volume
from tests.records.dicom_writers import picture, rows, store, write_dicom

SAGITTAL = [0, 1, 0, 0, 0, -1]
OBLIQUE = [0.8, 0.6, 0, 0, 0, -1]
HEIGHTS = (-3.0, 0.0, 3.0, 6.0)


def slices(folder: Path, *, heights: tuple[float, ...] = HEIGHTS, **attributes: Any) -> None:
    """One file for each height; values are 100 times the number of the slice, and names are in no order."""
    names = [f"{number:02}.dcm" for number in range(len(heights))]
    random.Random(7).shuffle(names)
    for number, (name, height) in enumerate(zip(names, heights, strict=True)):
        values = np.full((6, 4), 100 * number, np.int16)
        values[0, 1] += 1
        write_dicom(
            folder / "scans" / name, picture(values, **{"ImagePositionPatient": [10, 20, height], **attributes})
        )


def volume(folder: Path) -> Volume:
    found = store(folder, unit="series")
    (row,) = rows(found)
    return found.read_image(row["scan"])


def refusal(folder: Path) -> str:
    with pytest.raises(RecordsError) as caught:
        volume(folder)
    assert caught.value.message.startswith("file ")
    return caught.value.message


class TestOnePicture:
    def read(self, folder: Path, **attributes: Any) -> Volume:
        write_dicom(folder / "scans" / "a.dcm", picture(**attributes))
        return store(folder).read_image("a.dcm")

    def test_an_axial_slice(self, tmp_path: Path) -> None:
        """Columns are 0.25 mm apart to the left, rows 0.5 mm to the back; RAS turns both signs."""
        affine = self.read(tmp_path, SliceThickness=2).affine
        assert affine.tolist() == [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]]

    def test_a_sagittal_slice(self, tmp_path: Path) -> None:
        """Columns to the back, rows down; the normal is their cross product, to the right in LPS: -x."""
        affine = self.read(tmp_path, ImageOrientationPatient=SAGITTAL, SpacingBetweenSlices=3).affine
        assert affine.tolist() == [[0, 0, 3, -10], [-0.25, 0, 0, -20], [0, -0.5, 0, 30], [0, 0, 0, 1]]

    def test_a_radiograph_has_its_pixels_size_alone(self, tmp_path: Path) -> None:
        attributes = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
        found = self.read(tmp_path, **attributes, ImagerPixelSpacing=[0.2, 0.1])
        assert found.affine.tolist() == np.diag([-0.1, -0.2, 1, 1]).tolist()
        assert self.read(tmp_path, **attributes).affine.tolist() == np.diag([-1, -1, 1, 1]).tolist()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"PixelSpacing": None}, "does not state its pixel spacing"),
            ({"PixelSpacing": [0, 1]}, "states a pixel spacing that is none"),
            ({"PixelSpacing": [-1, 1]}, "states a pixel spacing that is none"),
            ({"ImageOrientationPatient": None}, "does not state its orientation"),
            ({"ImagePositionPatient": None}, "does not state its position"),
            ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "states an orientation that is none"),
            ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "states an orientation that is none"),
            ({"ImageOrientationPatient": [1, 0, 0, 0, 1]}, "states a place in space that is none"),
            ({"ImagePositionPatient": [1, 2]}, "states a place in space that is none"),
            ({"ImagePositionPatient": ["1", "1e999", "2"]}, "states a place in space that is none"),
        ],
        ids=str,
    )
    def test_a_place_that_is_none_is_refused(self, change: dict[str, Any], words: str, tmp_path: Path) -> None:
        with pytest.raises(RecordsError) as caught:
            self.read(tmp_path, **change)
        assert caught.value.message == f"file 1 of `scans` {words}"


class TestSeries:
    def test_slices_are_put_in_their_order_in_space(self, tmp_path: Path) -> None:
        slices(tmp_path)
        found = volume(tmp_path)
        assert found.values.shape == (4, 6, 4)
        assert found.values[0, 0].tolist() == [0, 100, 200, 300]
        assert found.values[1, 0].tolist() == [1, 101, 201, 301]
        assert found.affine.tolist() == [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 3, -3], [0, 0, 0, 1]]

    def test_each_voxel_lies_where_its_slice_says(self, tmp_path: Path) -> None:
        """In an oblique direction: the affine gives the same place as the equation of PS3.3 C.7.6.2.1.1."""
        across, down = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:])
        normal = np.cross(across, down)
        for number, along in enumerate((5.0, 2.5, 0.0, 7.5)):
            position = np.array([1, 2, 3]) + along * normal
            values = np.full((3, 5), int(along * 10), np.int16)
            data = picture(
                values,
                ImagePositionPatient=[float(f"{each:.6g}") for each in position],
                ImageOrientationPatient=OBLIQUE,
            )
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        found = volume(tmp_path)
        assert found.values[0, 0].tolist() == [0, 25, 50, 75]
        for x, y, z in [(0, 0, 0), (4, 0, 1), (2, 1, 3)]:
            left, back, up = np.array([1, 2, 3]) + 2.5 * z * normal + across * 0.25 * x + down * 0.5 * y
            assert (found.affine @ [x, y, z, 1])[:3] == pytest.approx([-left, -back, up], abs=1e-5)

    def test_positions_may_be_rounded(self, tmp_path: Path) -> None:
        slices(tmp_path, heights=(0.0, 0.7, 1.3, 2.0, 2.7))
        assert volume(tmp_path).affine[2, 2] == pytest.approx(0.675)

    def test_each_slice_has_its_own_rescaling(self, tmp_path: Path) -> None:
        for number, slope in enumerate((1, 0.5)):
            data = picture(np.full((2, 2), 8, np.int16), RescaleSlope=slope, RescaleIntercept=0)
            data.ImagePositionPatient = [0, 0, number]
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        assert volume(tmp_path).values[0, 0].tolist() == [8, 4]

    def test_slices_of_whole_numbers_and_of_fractions(self, tmp_path: Path) -> None:
        for number, slope in enumerate((5000, 0.5)):
            data = picture(np.full((2, 2), 9, np.int16), RescaleSlope=slope, RescaleIntercept=0)
            data.ImagePositionPatient = [0, 0, number]
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        values = store(tmp_path, unit="series").read_image("0.dcm").values
        assert values.dtype == np.float32
        assert values[0, 0].tolist() == [45_000, 4.5]

    def test_a_tilted_gantry_is_sheared(self, tmp_path: Path) -> None:
        for number in range(3):
            data = picture(ImagePositionPatient=[0, number * 0.5, number * 2])
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        assert volume(tmp_path).affine[:3, 2].tolist() == [0, -0.5, 2]

    def test_one_slice_is_a_volume(self, tmp_path: Path) -> None:
        slices(tmp_path, heights=(1.0,))
        assert volume(tmp_path).values.shape == (4, 6, 1)

    @pytest.mark.parametrize("heights", [(0.0, 3.0, 9.0, 12.0), (0.0, 1.0, 2.0, 3.5), (0.0, 3.0, 6.0, 6.01)])
    def test_uneven_distances_are_refused(self, heights: tuple[float, ...], tmp_path: Path) -> None:
        slices(tmp_path, heights=heights)
        assert "uneven distances" in refusal(tmp_path) or "at the same place" in refusal(tmp_path)

    def test_two_slices_at_one_place_are_refused(self, tmp_path: Path) -> None:
        slices(tmp_path, heights=(0.0, 0.0, 3.0))
        assert "two slices at the same place" in refusal(tmp_path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"ImageOrientationPatient": SAGITTAL}, "slices in different directions"),
            ({"PixelSpacing": [0.5, 0.3]}, "slices with different pixel spacings"),
            ({"PixelSpacing": None}, "does not state its pixel spacing"),
            ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, "does not state its position"),
            ({"PatientID": "another"}, "is of another patient than its series"),
            ({"PatientID": None}, "is of another patient than its series"),
            ({"Rows": 4, "Columns": 6}, "is of another size than the other slices"),
            ({"NumberOfFrames": 2, "Rows": 3}, "holds several frames, and so does its series"),
        ],
        ids=str,
    )
    def test_one_slice_that_does_not_fit_refuses_the_series(
        self, change: dict[str, Any], words: str, tmp_path: Path
    ) -> None:
        slices(tmp_path)
        write_dicom(tmp_path / "scans" / "99.dcm", picture(**{"ImagePositionPatient": [10, 20, 9], **change}))
        assert words in refusal(tmp_path)

    def test_two_series_in_one_folder_are_two_records(self, tmp_path: Path) -> None:
        slices(tmp_path)
        write_dicom(tmp_path / "scans" / "50.dcm", picture(SeriesInstanceUID=generate_uid()))
        write_dicom(tmp_path / "scans" / "deeper" / "51.dcm", picture(ImagePositionPatient=[10, 20, 9]))
        found = store(tmp_path, unit="series")
        assert [row["scan"] for row in rows(found)] == ["00.dcm", "50.dcm"]
        assert found.read_image("00.dcm").values.shape == (4, 6, 5)
        assert found.read_image("50.dcm").values.shape == (4, 6, 1)

    def test_a_store_that_was_just_opened_knows_its_series(self, tmp_path: Path) -> None:
        slices(tmp_path)
        assert store(tmp_path, unit="series").read_image("00.dcm").values.shape == (4, 6, 4)
        with pytest.raises(RecordsError, match="not the first file of a series"):
            store(tmp_path, unit="series").read_image("01.dcm")

    def test_a_file_that_names_no_series_is_refused(self, tmp_path: Path) -> None:
        write_dicom(tmp_path / "scans" / "a.dcm", picture(SeriesInstanceUID=None))
        assert refusal(tmp_path) == "file 1 of `scans` does not name its series"

    def test_too_many_values_are_refused_before_any_is_decoded(self, tmp_path: Path) -> None:
        for number in range(3):
            data = picture(Rows=16384, Columns=8192, ImagePositionPatient=[0, 0, number])
            write_dicom(tmp_path / "scans" / f"{number}.dcm", data)
        assert "the rest of its series promise more than 268435456 values" in refusal(tmp_path)


class TestFunctionalGroups:
    def made(self, folder: Path, heights: tuple[float, ...], orientation: list[float] | None = None) -> Volume:
        shared, frames = Dataset(), []
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = orientation or [1, 0, 0, 0, 1, 0]
        shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.25]
        for height in heights:
            frame = Dataset()
            frame.PlanePositionSequence = [Dataset()]
            frame.PlanePositionSequence[0].ImagePositionPatient = [10, 20, height]
            frames.append(frame)
        values = np.stack([np.full((6, 4), number, np.int16) for number in range(len(heights))])
        groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
        place = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
        write_dicom(folder / "scans" / "a.dcm", picture(values, **place, **groups))
        return store(folder).read_image("a.dcm")

    def test_frames_are_put_in_their_order_in_space(self, tmp_path: Path) -> None:
        found = self.made(tmp_path, (4.0, 0.0, 2.0))
        assert found.values[0, 0].tolist() == [1, 2, 0]
        assert found.affine.tolist() == [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 2, 0], [0, 0, 0, 1]]

    def test_frames_at_one_place_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="two slices at the same place"):
            self.made(tmp_path, (0.0, 2.0, 2.0))

    def test_fewer_groups_than_frames_are_refused(self, tmp_path: Path) -> None:
        self.made(tmp_path, (0.0, 2.0))
        import pydicom

        data = pydicom.dcmread(tmp_path / "scans" / "a.dcm")
        del data.PerFrameFunctionalGroupsSequence[1]
        data.save_as(tmp_path / "scans" / "a.dcm")
        with pytest.raises(RecordsError, match="does not state its position"):
            store(tmp_path).read_image("a.dcm")
