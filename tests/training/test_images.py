# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef, Imaging
from tests.training.pictures import CLASSIFIER, SEGMENTER, save, write_rows, write_view

pytestmark = pytest.mark.slow  # MONAI takes seconds to import


def reader(classes: int = 2, **imaging: Any) -> Any:
    from cloister.training.images import ImageReader

    return ImageReader(Imaging.model_validate(imaging), classes)


def test_scales_intensities_and_crops_and_pads_about_the_centre(tmp_path: Path) -> None:
    values = np.arange(8 * 4, dtype=np.float32).reshape(8, 4)
    save(tmp_path / "images" / "a.nii", values)
    form = reader(size=(4, 6), intensities={"low": 8.0, "high": 20.0})
    found = form.image(tmp_path / "images" / "a.nii")
    assert found.shape == (1, 4, 6)
    expected = np.clip((values[2:6] - 8) / 12, 0, 1)
    assert np.allclose(found[0, :, 1:5], expected)
    assert not found[0, :, [0, 5]].any()


def test_scales_each_image_by_itself_where_no_intensities_are_given(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.nii", np.random.default_rng(0).normal(300, 9, (8, 8)).astype(np.float32))
    found = reader(size=(8, 8)).image(tmp_path / "images" / "a.nii")
    assert float(found.mean()) == pytest.approx(0, abs=1e-5)
    assert float(found.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_volumes_are_turned_and_pictures_are_not(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    left_back_down = np.diag([-1.0, -1.0, -1.0, 1.0])
    scaled = {"intensities": {"low": 0.0, "high": 1.0}}
    save(tmp_path / "images" / "a.nii", values, left_back_down)
    found = reader(size=(4, 5, 6), **scaled).image(tmp_path / "images" / "a.nii")
    assert np.allclose(found[0], values[::-1, ::-1, ::-1])
    save(tmp_path / "images" / "b.nii", values[:, :, 0], left_back_down)
    assert np.allclose(reader(size=(4, 5), **scaled).image(tmp_path / "images" / "b.nii")[0], values[:, :, 0])


def test_a_spacing_makes_voxels_anew_and_keeps_classes_whole(tmp_path: Path) -> None:
    wide = np.diag([2.0, 2.0, 2.0, 1.0])
    values = np.zeros((6, 6, 6), np.uint8)
    values[2:4, 2:4, 2:4] = 2
    save(tmp_path / "images" / "m.nii", values, wide)
    form = reader(3, size=(12, 12, 12), spacing=(1.0, 1.0, 1.0))
    mask = form.mask(tmp_path / "images" / "m.nii")
    assert set(mask.unique().tolist()) == {0, 2}  # between them a linear step would have made 1
    # Four millimetres along each axis: four new voxels, or five where both ends are the centre of one.
    assert int((mask == 2).sum()) in (4**3, 5**3)
    same = form.image(save_as_float(tmp_path, values, wide))
    assert same.shape == (1, 12, 12, 12)


def save_as_float(folder: Path, values: Any, affine: Any) -> Path:
    return folder / save(folder / "images" / "f.nii", values.astype(np.float32), affine)


def test_a_picture_may_stand_in_any_plane(tmp_path: Path) -> None:
    sagittal = np.array([[0, 0, 1, 0], [2, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1.0]])
    save(tmp_path / "images" / "a.nii", np.ones((6, 8), np.float32), sagittal)
    form = reader(size=(12, 16), spacing=(1.0, 1.0), intensities={"low": 0.0, "high": 1.0})
    assert float(form.image(tmp_path / "images" / "a.nii").mean()) > 0.8


def test_colours_come_first(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 1, 3), np.uint8)
    values[..., 1] = 255
    save(tmp_path / "images" / "a.nii", values)
    found = reader(size=(4, 5), channels=3, intensities={"low": 0.0, "high": 255.0}).image(
        tmp_path / "images" / "a.nii"
    )
    assert found.shape == (3, 4, 5)
    assert [float(channel.mean()) for channel in found] == [0, 1, 0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((4, 4), 2, np.uint8), "from 0 to 1"),
        (np.full((4, 4), -1, np.int16), "from 0 to 1"),
        (np.full((4, 4), 0.5, np.float32), "from 0 to 1"),
        (np.zeros((4, 4, 1, 3), np.uint8), "several channels"),
        (np.zeros((4, 4, 4), np.uint8), "3 dimensions"),
    ],
)
def test_refuses_what_is_no_mask(tmp_path: Path, values: Any, sentence: str) -> None:
    from cloister.training.images import FormError

    save(tmp_path / "images" / "m.nii", values)
    with pytest.raises(FormError, match=sentence):
        reader(size=(4, 4)).mask(tmp_path / "images" / "m.nii")


def records(view: Path, dataset: DatasetRef, imaging: Imaging, **more: Any) -> Any:
    from cloister.training.image_records import ImageRecords
    from cloister.training.images import ImageReader

    return ImageRecords(str(view), "train.parquet", dataset, ImageReader(imaging, len(dataset.labels)), **more)


def test_records_are_the_same_from_memory_and_from_files(tmp_path: Path) -> None:
    job = SEGMENTER
    assert job.imaging is not None
    view = write_view(tmp_path, job, 4, 1)
    chosen, cpu = np.array([3, 0]), torch.device("cpu")
    kept, read = (records(view, job.dataset, job.imaging, cache_bytes=size) for size in (1 << 30, 0))
    images, masks = kept.batch(chosen, cpu)
    assert images.shape == masks.shape == (2, 1, 12, 12, 12)
    assert masks.dtype == torch.int64
    assert images.equal(read.batch(chosen, cpu)[0])
    assert masks.equal(read.batch(chosen, cpu)[1])
    order = [next(kept.shuffled(4, (seed,))).tolist() for seed in (1, 1, 2)]
    assert order[0] == order[1] != order[2]
    assert sorted(order[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"scan": None, "finding": "clear"}, "row 2 of the view's `train.parquet`: column `scan` is empty"),
        ({"scan": "images/000001.nii", "finding": None}, "row 2 .* column `finding` is empty"),
        ({"scan": "images/000001.nii", "finding": "secret"}, "row 2 .* column `finding` holds a class that is not"),
        ({"scan": "images/none.nii", "finding": "clear"}, "row 2 .* column `scan` names an image that cannot be read"),
        ({"scan": "images/broken.nii", "finding": "clear"}, "row 2 .* column `scan` names an image that cannot be"),
        ({"scan": "images/deep.nii", "finding": "clear"}, "row 2 .* column `scan` names an image of 3 dimensions"),
        ({"scan": "images/colour.nii", "finding": "clear"}, "row 2 .* column `scan` names an image of 3 channels"),
    ],
)
def test_a_wrong_row_is_named_and_not_quoted(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    assert CLASSIFIER.imaging is not None
    view = write_view(tmp_path, CLASSIFIER, 1, 1)
    (view / "images" / "broken.nii").write_bytes(b"no image")
    save(view / "images" / "deep.nii", np.zeros((4, 4, 4), np.float32))
    save(view / "images" / "colour.nii", np.zeros((4, 4, 1, 3), np.uint8))
    first = {"scan": "images/000001.nii", "finding": "clear"}
    write_rows(view, "train", {name: [first[name], row[name]] for name in first})
    with pytest.raises(RecordsError, match=sentence) as refusal:
        records(view, CLASSIFIER.dataset, CLASSIFIER.imaging)
    assert "secret" not in str(refusal.value)
