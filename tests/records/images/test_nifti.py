# SPDX-License-Identifier: Apache-2.0
"""NIfTI files, good and bad, through their store."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.images.nifti import NiftiStore
from cloister.records.images.volume import Volume
from cloister.silos import Dataset

AFFINE = np.array([[0, -2, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]], float)
VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
CANARY = b"Canary^Patient"


def store(root: Path, **columns: Any) -> NiftiStore:
    (root / "scans").mkdir(exist_ok=True)
    if not (root / "index.csv").exists():
        (root / "index.csv").write_text("who,scan\np1,a.nii\np2,b.nii\n", encoding="utf-8")
    declared = {"who": {"kind": "identifier"}, "scan": {"kind": "image"}, **columns}
    connector = {"kind": "nifti", "path": "scans", "table": "index.csv"}
    found = open_store(Dataset.model_validate({"connector": connector, "columns": declared}, strict=False), root=root)
    assert isinstance(found, NiftiStore)
    return found


def written(values: np.ndarray = VALUES, affine: np.ndarray | None = AFFINE, kind: type = nibabel.Nifti1Image) -> bytes:
    return bytes(kind(values, affine).to_bytes())


def read(root: Path, content: bytes, name: str = "a.nii") -> Volume:
    found = store(root)
    (root / "scans" / name).write_bytes(content)
    return found.read_image(name)


def refusal(root: Path, content: bytes, name: str = "a.nii") -> str:
    with pytest.raises(RecordsError) as caught:
        read(root, content, name)
    assert caught.value.message.startswith("the image in row 1 of `index.csv` ")
    assert not isinstance(caught.value.__cause__, ValueError)
    return caught.value.message.removeprefix("the image in row 1 of `index.csv` ")


def patched(content: bytes, offset: int, form: str, *values: Any) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, offset, *values)
    return bytes(changed)


class TestStore:
    def test_rows_are_those_of_the_table(self, tmp_path: Path) -> None:
        found = store(tmp_path)
        assert found.column_names() == ("who", "scan")
        (batch,) = found.batches(["scan", "who"])
        assert batch.to_pylist() == [{"scan": "a.nii", "who": "p1"}, {"scan": "b.nii", "who": "p2"}]

    def test_a_column_that_there_is_not(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match=r"`index\.csv` has no column `scann`") as caught:
            store(tmp_path, scann={"kind": "image"})
        assert "`scan`" not in caught.value.hint  # where the header was forgotten, the first line is a record

    def test_a_dataset_without_an_image(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match=r"`index\.csv` names no NIfTI files"):
            store(tmp_path, scan={"kind": "identifier"})

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        found = store(tmp_path)
        (tmp_path / "scans").rmdir()
        with pytest.raises(RecordsError, match="`scans` does not exist"):
            found.column_names()

    @pytest.mark.parametrize("name", ["../index.csv", "/etc/passwd", "b.nii", "", "link.nii"])
    def test_names_of_no_file_in_the_folder(self, name: str, tmp_path: Path) -> None:
        found = store(tmp_path)
        (tmp_path / "secret.nii").write_bytes(written())
        (tmp_path / "scans" / "link.nii").symlink_to(tmp_path / "secret.nii")
        with pytest.raises(RecordsError, match=r"^an image of `index\.csv` |^the image in row 2 of `index\.csv` "):
            found.read_image(name)


class TestValues:
    @pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_values_and_place(self, kind: type, zipped: bool, tmp_path: Path) -> None:
        """By its content, whatever its name."""
        content = written(kind=kind)
        found = read(tmp_path, gzip.compress(content) if zipped else content)
        assert found.values.dtype == np.int16
        assert found.values.tolist() == VALUES.tolist()
        assert found.affine.tolist() == AFFINE.tolist()

    @pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16, np.int32])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_whole_numbers_stay_what_they_are(self, kind: type, order: str, tmp_path: Path) -> None:
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(kind)
        image = nibabel.Nifti1Image(VALUES.astype(kind), AFFINE, header)
        found = read(tmp_path, image.to_bytes())
        assert found.values.dtype == np.dtype(kind)
        assert found.values.dtype.isnative
        assert found.values.tolist() == VALUES.tolist()

    @pytest.mark.parametrize(
        ("kind", "becomes"),
        [(np.int64, np.int32), (np.uint32, np.int32), (np.float64, np.float32), (np.float32, np.float32)],
    )
    def test_wider_numbers_become_narrower(self, kind: type, becomes: type, tmp_path: Path) -> None:
        found = read(tmp_path, bytes(nibabel.Nifti1Image(VALUES.astype(kind), AFFINE, dtype=kind).to_bytes()))
        assert found.values.dtype == becomes
        assert found.values.tolist() == VALUES.tolist()

    def test_slope_and_intercept_are_applied(self, tmp_path: Path) -> None:
        found = read(tmp_path, patched(written(), 112, "<ff", 0.5, -3))
        assert found.values.dtype == np.float32
        assert found.values.tolist() == (VALUES * 0.5 - 3).tolist()
        assert read(tmp_path, patched(written(), 112, "<ff", 0, 7)).values.tolist() == VALUES.tolist()
        assert read(tmp_path, patched(written(), 112, "<ff", 1, 0)).values.dtype == np.int16

    @pytest.mark.parametrize(
        ("shape", "becomes"),
        [
            ((4, 6), (4, 6)),
            ((2, 3, 4), (2, 3, 4)),
            ((2, 3, 4, 1), (2, 3, 4)),
            ((2, 3, 2, 2), (2, 3, 2, 2)),
            ((2, 3, 2, 1, 2), (2, 3, 2, 2)),
            ((4, 6, 1), (4, 6, 1)),
        ],
    )
    def test_dimensions(self, shape: tuple[int, ...], becomes: tuple[int, ...], tmp_path: Path) -> None:
        found = read(tmp_path, written(VALUES.reshape(shape)))
        assert found.values.tolist() == VALUES.reshape(becomes).tolist()

    def test_the_sform_goes_before_the_qform(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(VALUES, AFFINE)
        image.set_qform(np.diag([4, 5, 6, 1]), code=1)
        image.set_sform(AFFINE, code=2)
        assert read(tmp_path, image.to_bytes()).affine.tolist() == AFFINE.tolist()
        image.set_sform(AFFINE, code=0)
        assert read(tmp_path, image.to_bytes()).affine.tolist() == np.diag([4, 5, 6, 1]).tolist()

    def test_nothing_else_of_the_header_is_given(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(VALUES, AFFINE)
        for field in ("descrip", "db_name", "intent_name", "aux_file"):
            image.header[field] = CANARY
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", CANARY))
        assert image.to_bytes().count(CANARY) == 5
        found = read(tmp_path, image.to_bytes())
        assert vars(found).keys() == {"values", "affine"}
        again = nibabel.Nifti1Image(found.values, found.affine).to_bytes()
        assert CANARY not in again


class TestRefused:
    @pytest.mark.parametrize("content", [b"", b"x", b"\0" * 1000, b"PK\x03\x04" * 200, written()[:347]])
    def test_what_is_no_nifti_file(self, content: bytes, tmp_path: Path) -> None:
        assert refusal(tmp_path, content) in ("is not a NIfTI file", "is cut off: it is shorter than its header says")

    @pytest.mark.parametrize("magic", [b"ni1\0", b"xxx\0", b"\0\0\0\0"])
    def test_wrong_magic(self, magic: bytes, tmp_path: Path) -> None:
        assert refusal(tmp_path, patched(written(), 344, "4s", magic)) == "is not a NIfTI file"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_values_that_are_not_finite(self, value: float, tmp_path: Path) -> None:
        values = VALUES.astype(np.float64)
        values[1, 2, 3] = value
        assert refusal(tmp_path, written(values)) == "holds a value that is not finite"

    @pytest.mark.parametrize("slope", [np.nan, np.inf])
    def test_a_slope_that_is_not_finite(self, slope: float, tmp_path: Path) -> None:
        content = patched(written(), 112, "<ff", slope, 0)
        if np.isnan(slope):  # by the standard no slope at all, as 0 is
            assert read(tmp_path, content).values.tolist() == VALUES.tolist()
        else:
            assert refusal(tmp_path, content) == "has a header that makes no sense"

    @pytest.mark.parametrize(
        ("affine", "words"),
        [
            (np.zeros((4, 4)), "has no extent in some direction of space"),
            (np.diag([1, 1, 0, 1]), "has no extent in some direction of space"),
            (np.full((4, 4), np.nan), "has no place in space that can be computed with"),
            (np.full((4, 4), np.inf), "has no place in space that can be computed with"),
        ],
    )
    def test_a_wrong_affine(self, affine: np.ndarray, words: str, tmp_path: Path) -> None:
        content = patched(written(), 252, "<hh", 0, 1)  # qform_code, sform_code
        content = patched(content, 280, "<12f", *affine[:3].ravel())
        assert refusal(tmp_path, content) == words

    def test_a_wrong_quaternion(self, tmp_path: Path) -> None:
        content = patched(written(), 252, "<hh", 1, 0)
        content = patched(content, 256, "<6f", 9.0, 9.0, 9.0, 0, 0, 0)
        assert "makes no sense" in refusal(tmp_path, content)

    @pytest.mark.parametrize("keep", [360, 380, -1])
    def test_a_file_that_is_cut_off(self, keep: int, tmp_path: Path) -> None:
        assert refusal(tmp_path, written()[:keep]) == "is cut off: it is shorter than its header says"

    @pytest.mark.parametrize("keep", [1, 5, 20, 60, -9, -5, -1])
    def test_a_zipped_file_that_is_cut_off(self, keep: int, tmp_path: Path) -> None:
        whole = gzip.compress(written(np.random.default_rng(1).integers(0, 255, (8, 8, 8)).astype(np.uint8)))
        assert refusal(tmp_path, whole[:keep]) in (
            "is cut off or damaged: it cannot be inflated",
            "is not a NIfTI file",
        )

    def test_a_zipped_file_with_a_wrong_checksum(self, tmp_path: Path) -> None:
        whole = bytearray(gzip.compress(written()))
        whole[-6] ^= 1
        assert "cannot be inflated" in refusal(tmp_path, bytes(whole))

    def test_a_file_that_is_longer_than_it_says(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, written() + b"\0") == "is longer than its header says"
        assert refusal(tmp_path, gzip.compress(written() + b"\0")) == "is longer than its header says"

    def test_a_bomb_is_not_inflated(self, tmp_path: Path) -> None:
        """A small header, and 20 MB of zeros in 20 kB."""
        content = gzip.compress(written()[:352] + b"\0" * 20_000_000, compresslevel=9)
        tracemalloc.start()
        assert refusal(tmp_path, content) == "is longer than its header says"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000

    @pytest.mark.parametrize("shape", [(32767,) * 3, (32767, 32767, 1), (32767,) * 7])
    def test_a_promise_of_too_much_is_refused_at_once(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        content = patched(written(), 40, "<8h", len(shape), *shape, *(1,) * (7 - len(shape)))
        assert refusal(tmp_path, content) == "promises more than 268435456 values"

    @pytest.mark.parametrize("dims", [(0, 1, 1, 1), (3, -1, 3, 4), (3, 0, 3, 4), (9, 1, 1, 1)])
    def test_lengths_that_make_no_sense(self, dims: tuple[int, ...], tmp_path: Path) -> None:
        words = refusal(tmp_path, patched(written(), 40, "<4h", *dims))
        assert words in ("holds no values", "has a header that makes no sense")

    @pytest.mark.parametrize("unit", ["meter", "micron"])
    @pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
    def test_other_units_than_millimetres(self, kind: type, unit: str, tmp_path: Path) -> None:
        image = kind(VALUES, AFFINE)
        image.header.set_xyzt_units(unit, "sec")
        assert refusal(tmp_path, image.to_bytes()) == "is measured in metres or micrometres"
        image.header.set_xyzt_units("mm", "msec")
        assert read(tmp_path, image.to_bytes()).affine.tolist() == AFFINE.tolist()

    @pytest.mark.parametrize("offset", [-1.0, 0.0, 100.0, 1e12, float("nan"), float("inf")])
    def test_an_offset_that_makes_no_sense(self, offset: float, tmp_path: Path) -> None:
        assert refusal(tmp_path, patched(written(), 108, "<f", offset)) == "has a header that makes no sense"

    def test_a_type_that_there_is_not(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, patched(written(), 70, "<h", 9999)) == "has a header that makes no sense"

    @pytest.mark.parametrize("kind", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
    def test_colours_and_complex_numbers(self, kind: Any, tmp_path: Path) -> None:
        values = np.zeros((2, 3, 4), kind)
        assert refusal(tmp_path, written(values)) == "holds colours or complex numbers"

    def test_whole_numbers_beyond_32_bits(self, tmp_path: Path) -> None:
        content = bytes(nibabel.Nifti1Image(VALUES.astype(np.int64) + 2**40, AFFINE, dtype=np.int64).to_bytes())
        assert refusal(tmp_path, content) == "holds whole numbers beyond 32 bits"

    def test_five_dimensions(self, tmp_path: Path) -> None:
        assert "has neither two, three nor four dimensions" in refusal(tmp_path, written(VALUES.reshape(2, 3, 1, 2, 2)))
        assert "has neither two, three nor four dimensions" in refusal(tmp_path, written(VALUES.reshape(24)))
