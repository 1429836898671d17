# SPDX-License-Identifier: Apache-2.0
"""Pixels of made DICOM files are those that pydicom reads, or the file is refused with the reason in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cloister.errors import RecordsError
from cloister.records.images import dicom_pixels
from cloister.records.images.volume import Volume
from tests.records.dicom_writers import BIG_ENDIAN, IMPLICIT, picture, store, write_dicom, write_frames

SIGNED = np.array([[-300, -2, 5], [7, 1000, 32000]], np.int16)
LARGE = np.arange(64 * 65, dtype=np.int16).reshape(64, 65)
LARGE_COLOURS = np.arange(64 * 65 * 3).reshape(64, 65, 3).astype(np.uint8)
COLOURS = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)


def read(folder: Path, data: Dataset | None, syntax: UID | None = None, **connector: Any) -> Volume:
    """The one file of a store, through the store."""
    if data is not None:
        write_dicom(folder / "scans" / "a.dcm", data, *([syntax] if syntax is not None else []))
    return store(folder, **connector).read_image("a.dcm")


def refusal(folder: Path, data: Dataset | None, syntax: UID | None = None, **connector: Any) -> str:
    with pytest.raises(RecordsError) as caught:
        read(folder, data, syntax, **connector)
    assert caught.value.message.startswith("file 1 of `scans` ")
    assert caught.value.__cause__ is None
    return caught.value.message.removeprefix("file 1 of `scans` ")


def as_pydicom(folder: Path) -> np.ndarray:
    """Rescaled, as the store has it: columns first."""
    file = pydicom.dcmread(folder / "scans" / "a.dcm")
    return np.swapaxes(apply_modality_lut(file.pixel_array, file), 0, 1)


class TestStoredValues:
    @pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
    @pytest.mark.parametrize("syntax", [IMPLICIT, UID("1.2.840.10008.1.2.1")])
    def test_every_width_arrives_as_it_is(self, kind: type, syntax: UID, tmp_path: Path) -> None:
        values = np.array([[0, 1, 2], [100, 127, 3]], kind)
        found = read(tmp_path, picture(values), syntax)
        assert found.values.tolist() == values.T.tolist()
        assert found.values.dtype.itemsize <= 4
        assert found.values.dtype.kind in "iu"

    def test_big_endian(self, tmp_path: Path) -> None:
        data = picture(SIGNED)
        data.PixelData = SIGNED.astype(">i2").tobytes()
        found = read(tmp_path, data, BIG_ENDIAN)
        assert found.values.tolist() == SIGNED.T.tolist()
        assert found.values.dtype.isnative

    @pytest.mark.parametrize("syntax", [IMPLICIT, UID("1.2.840.10008.1.2.1"), BIG_ENDIAN])
    @pytest.mark.parametrize("whole_meta", [True, False])
    def test_without_a_preamble_or_a_meta_group(self, syntax: UID, whole_meta: bool, tmp_path: Path) -> None:
        data = picture(SIGNED)
        if syntax == BIG_ENDIAN:
            data.PixelData = SIGNED.astype(">i2").tobytes()
        path = write_dicom(tmp_path / "scans" / "a.dcm", data, syntax)
        if whole_meta:
            path.write_bytes(path.read_bytes()[132:])
        else:
            del data.file_meta
            pydicom.dcmwrite(
                path,
                data,
                implicit_vr=syntax.is_implicit_VR,
                little_endian=syntax.is_little_endian,
                force_encoding=True,
            )
            assert path.read_bytes()[128:132] != b"DICM"
        assert read(tmp_path, None).values.tolist() == SIGNED.T.tolist()

    def test_only_the_bits_that_are_stored_count(self, tmp_path: Path) -> None:
        values = np.array([[0x0FFF, 0x0001], [0x0800, 0]], np.uint16)
        assert read(tmp_path, picture(values, BitsStored=12, HighBit=11)).values.tolist() == values.T.tolist()

    def test_frames_are_the_third_dimension(self, tmp_path: Path) -> None:
        values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
        found = read(tmp_path, picture(values, ImagePositionPatient=None, ImageOrientationPatient=None))
        assert found.values.tolist() == values.transpose(2, 1, 0).tolist()

    def test_single_bits(self, tmp_path: Path) -> None:
        data = picture(np.zeros((4, 4), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
        data.PixelData = b"\x21\x84"
        bits = np.unpackbits(np.array([0x21, 0x84], np.uint8), bitorder="little").reshape(4, 4)
        assert read(tmp_path, data).values.tolist() == bits.T.tolist()


class TestMeaning:
    def test_rescaling_to_whole_numbers(self, tmp_path: Path) -> None:
        found = read(tmp_path, picture(SIGNED, RescaleSlope=2, RescaleIntercept=-1024))
        assert found.values.tolist() == (SIGNED.T.astype(int) * 2 - 1024).tolist()
        assert found.values.dtype == np.int32
        assert read(tmp_path, picture(RescaleSlope=2, RescaleIntercept=-1024)).values.dtype == np.int16

    def test_rescaling_to_fractions(self, tmp_path: Path) -> None:
        found = read(tmp_path, picture(SIGNED, RescaleSlope=0.25, RescaleIntercept=0.1))
        assert found.values.dtype == np.float32
        assert np.allclose(found.values, SIGNED.T * 0.25 + 0.1)
        assert np.allclose(found.values, as_pydicom(tmp_path))

    def test_a_modality_table(self, tmp_path: Path) -> None:
        item = Dataset()
        item.LUTDescriptor, item.ModalityLUTType = [4, 0, 16], "US"
        item.add_new(0x00283006, "US", [10, 20, 30, 40])
        found = read(tmp_path, picture(np.array([[0, 1], [2, 9]], np.uint8), ModalityLUTSequence=[item]))
        assert found.values.tolist() == [[10, 30], [20, 40]]

    def test_rescaling_of_each_frame(self, tmp_path: Path) -> None:
        frames = []
        for slope in (1, 3):
            transformation, group = Dataset(), Dataset()
            transformation.RescaleSlope, transformation.RescaleIntercept = slope, 1
            group.PixelValueTransformationSequence = [transformation]
            frames.append(group)
        values = np.ones((2, 2, 2), np.uint8)
        place = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
        found = read(tmp_path, picture(values, PerFrameFunctionalGroupsSequence=frames, **place))
        assert found.values[..., 0].tolist() == [[2, 2], [2, 2]]
        assert found.values[..., 1].tolist() == [[4, 4], [4, 4]]

    @pytest.mark.parametrize(
        ("values", "bits", "turned"),
        [
            (np.array([[0, 255]], np.uint8), 8, [[255], [0]]),
            (np.array([[0, 4095]], np.uint16), 12, [[4095], [0]]),
            (np.array([[-32768, 5]], np.int16), 16, [[32767], [-6]]),
        ],
    )
    def test_dark_for_high_is_turned_over(
        self, values: np.ndarray, bits: int, turned: list[Any], tmp_path: Path
    ) -> None:
        data = picture(
            values, PhotometricInterpretation="MONOCHROME1", Modality="CR", BitsStored=bits, HighBit=bits - 1
        )
        assert read(tmp_path, data).values.tolist() == turned

    def test_what_measures_something_is_not_turned_over(self, tmp_path: Path) -> None:
        found = read(tmp_path, picture(SIGNED, PhotometricInterpretation="MONOCHROME1"))
        assert found.values.tolist() == SIGNED.T.tolist()
        seen = read(tmp_path, None, window={"centre": 0, "width": 100}).values
        expected = [[1, 0.5 - 7.5 / 99], [0.5 + 1.5 / 99, 0], [0.5 - 5.5 / 99, 0]]
        assert seen.tolist() == [pytest.approx(row) for row in expected]


class TestWindows:
    def test_a_window_of_the_silo_document(self, tmp_path: Path) -> None:
        values = np.array([[-10, 0, 10, 20, 30]], np.int16)
        found = read(tmp_path, picture(values), window={"centre": 10.5, "width": 21})
        assert found.values[:, 0].tolist() == [0, 0, 0.5, 1, 1]
        assert found.values.dtype == np.float32

    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
    def test_the_files_window_is_pydicoms(self, function: str | None, tmp_path: Path) -> None:
        values = np.arange(256, dtype=np.uint8).reshape(16, 16)
        attributes = {"WindowCenter": [100, 7], "WindowWidth": [120, 3], "RescaleSlope": 1, "RescaleIntercept": 0}
        data = picture(values, VOILUTFunction=function, **attributes)
        found = read(tmp_path, data, window="from-file")
        file = pydicom.dcmread(tmp_path / "scans" / "a.dcm")
        theirs = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file) / 255
        assert np.allclose(found.values, theirs.T, atol=1e-6)
        assert 0 <= found.values.min() < 0.05
        assert 0.95 < found.values.max() <= 1

    def test_the_files_table(self, tmp_path: Path) -> None:
        item = Dataset()
        item.LUTDescriptor = [4, 0, 8]
        item.add_new(0x00283006, "US", [0, 51, 102, 255])
        found = read(tmp_path, picture(np.array([[0, 1, 2, 9]], np.uint8), VOILUTSequence=[item]), window="from-file")
        assert found.values[:, 0].tolist() == pytest.approx([0, 0.2, 0.4, 1])

    @pytest.mark.parametrize("stated", [{}, {"WindowCenter": 3}, {"WindowCenter": 3, "WindowWidth": 0}])
    def test_a_file_without_one_is_refused(self, stated: dict[str, int], tmp_path: Path) -> None:
        assert "says nothing of the window" in refusal(tmp_path, picture(**stated), window="from-file")


class TestColours:
    @pytest.mark.parametrize("planar", [0, 1])
    def test_colours_in_either_order(self, planar: int, tmp_path: Path) -> None:
        data = picture(COLOURS, PlanarConfiguration=planar)
        if planar:
            data.PixelData = COLOURS.transpose(2, 0, 1).tobytes()
        found = read(tmp_path, data)
        assert found.values.shape == (5, 2, 1, 3)
        assert found.values[:, :, 0].tolist() == COLOURS.transpose(1, 0, 2).tolist()

    def test_frames_in_colour(self, tmp_path: Path) -> None:
        values = np.stack([COLOURS, COLOURS[::-1]])
        place = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
        found = read(tmp_path, picture(values, **place))
        assert found.values.shape == (5, 2, 2, 3)
        assert found.values[:, :, 1].tolist() == COLOURS[::-1].transpose(1, 0, 2).tolist()

    def test_luminance_and_chroma_become_rgb(self, tmp_path: Path) -> None:
        grey = np.full((2, 2, 3), 128, np.uint8)
        grey[..., 0] = 77
        assert (
            read(tmp_path, picture(grey, PhotometricInterpretation="YBR_FULL")).values.tolist()
            == [[[[77] * 3]] * 2] * 2
        )

    @pytest.mark.parametrize("bits", [8, 16])
    def test_a_palette_is_looked_up(self, bits: int, tmp_path: Path) -> None:
        data = picture(np.array([[0, 1], [1, 0]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
        data.SOPClassUID = SecondaryCaptureImageStorage
        for name, pair in (("Red", (1, 200)), ("Green", (2, 100)), ("Blue", (3, 0))):
            setattr(data, f"{name}PaletteColorLookupTableDescriptor", [2, 0, bits])
            entries = np.array(pair, "<u1" if bits == 8 else "<u2") * (1 if bits == 8 else 256)
            setattr(data, f"{name}PaletteColorLookupTableData", entries.astype("<u1" if bits == 8 else "<u2").tobytes())
        found = read(tmp_path, data, burned_in="accept")
        assert found.values.dtype == np.uint8
        assert found.values[0, 0, 0].tolist() == [1, 2, 3]
        assert found.values[1, 0, 0].tolist() == [200, 100, 0]


class TestCompressed:
    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
    @pytest.mark.parametrize("values", [LARGE, LARGE_COLOURS], ids=["signed", "colours"])
    def test_without_loss(self, syntax: UID, values: np.ndarray, tmp_path: Path) -> None:
        data = picture(values)
        write_dicom(tmp_path / "scans" / "a.dcm", data)
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(tmp_path / "scans" / "a.dcm", enforce_file_format=True)
        found = read(tmp_path, None).values
        assert (found[:, :, 0] if values.ndim == 3 else found).tolist() == np.swapaxes(values, 0, 1).tolist()

    @pytest.mark.parametrize("cut", [0.3, 0.9])
    def test_a_codestream_that_is_cut_off_is_refused(self, cut: float, tmp_path: Path) -> None:
        frame = self.frame(tmp_path)
        write_frames(tmp_path / "scans" / "a.dcm", picture(LARGE), [frame[: int(len(frame) * cut)]], JPEG2000Lossless)
        assert "is cut off" in refusal(tmp_path, None)

    def test_a_codestream_of_another_size_is_not_decoded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few bytes that promise a picture of 2^62 pixels: refused before there is an error of memory."""
        frame = bytearray(self.frame(tmp_path))
        at = frame.index(b"\xff\x51") + 6
        frame[at : at + 8] = b"\x7f\xff\xff\xff" * 2
        monkeypatch.setattr(dicom_pixels, "pixel_array", lambda _: pytest.fail("was decoded"))
        write_frames(tmp_path / "scans" / "a.dcm", picture(LARGE), [bytes(frame)], JPEG2000Lossless)
        assert "of another size than its header" in refusal(tmp_path, None)

    @pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
    def test_bytes_that_are_no_codestream_are_refused(self, syntax: UID, tmp_path: Path) -> None:
        write_frames(tmp_path / "scans" / "a.dcm", picture(LARGE), [b"nothing like it!"], syntax)
        assert "of another kind than it says" in refusal(tmp_path, None)

    def test_fewer_frames_than_stated_are_refused(self, tmp_path: Path) -> None:
        data = picture(np.stack([LARGE, LARGE]), ImagePositionPatient=None, ImageOrientationPatient=None)
        write_frames(tmp_path / "scans" / "a.dcm", data, [self.frame(tmp_path)], JPEG2000Lossless)
        assert "is cut off" in refusal(tmp_path, None)

    def test_run_lengths_that_are_cut_off_are_refused(self, tmp_path: Path) -> None:
        write_frames(tmp_path / "scans" / "a.dcm", picture(LARGE), [b"\x02\x00\x00\x00" + b"\x00" * 30], RLELossless)
        assert "cannot be decoded" in refusal(tmp_path, None)

    def test_a_file_that_ends_inside_its_frames_is_refused(self, tmp_path: Path) -> None:
        path = write_frames(tmp_path / "scans" / "a.dcm", picture(LARGE), [self.frame(tmp_path)], JPEG2000Lossless)
        path.write_bytes(path.read_bytes()[:-30])
        assert refusal(tmp_path, None) == "is a damaged DICOM file: its header is not whole"

    @staticmethod
    def frame(folder: Path) -> bytes:
        data = picture(LARGE)
        write_dicom(folder / "other.dcm", data)
        data.compress(JPEG2000Lossless)
        return next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"Rows": 7}, "is cut off: its pixel data is shorter"),
            ({"Columns": 3}, "has more pixel data than its rows and columns"),
            ({"Rows": None}, "does not say how large its picture is"),
            ({"Rows": 0}, "does not say how large its picture is"),
            ({"BitsStored": None}, "cannot be decoded"),
            ({"BitsAllocated": None}, "does not say how its pixel data is stored"),
            ({"NumberOfFrames": 60000, "Rows": 60000}, "promises more than"),
            ({"PhotometricInterpretation": "HSV"}, "is neither grey, RGB, YBR nor of a palette"),
            ({"PhotometricInterpretation": None}, "is neither grey, RGB, YBR nor of a palette"),
            ({"BitsAllocated": 12}, "pixel data"),
            ({"PixelRepresentation": None}, "cannot be decoded"),
        ],
        ids=str,
    )
    def test_headers_that_do_not_fit(self, change: dict[str, Any], words: str, tmp_path: Path) -> None:
        assert words in refusal(tmp_path, picture(**change))

    @pytest.mark.parametrize("keep", [10, 47])
    def test_pixels_that_are_cut_off(self, keep: int, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "scans" / "a.dcm", picture())
        path.write_bytes(path.read_bytes()[: keep - 48])
        assert "is cut off" in refusal(tmp_path, None)

    def test_no_pixels(self, tmp_path: Path) -> None:
        data = picture()
        del data.PixelData
        assert refusal(tmp_path, data) == "has no pixel data"

    @pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.2.840.10008.1.2.4.100", "1.2.3"])
    def test_transfer_syntaxes_that_are_not_read(self, syntax: str, tmp_path: Path) -> None:
        write_frames(tmp_path / "scans" / "a.dcm", picture(), [b"\xff\xd8" * 20], UID(syntax))
        assert refusal(tmp_path, None) == "is compressed in a way that is not read"

    def test_a_deflated_data_set(self, tmp_path: Path) -> None:
        data = picture()
        path = write_dicom(tmp_path / "scans" / "a.dcm", data)
        data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
        data.save_as(path, enforce_file_format=True)
        assert refusal(tmp_path, None) == "is deflated as a whole, which is not read"

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_values_that_are_not_finite(self, value: float, tmp_path: Path) -> None:
        data = picture(np.zeros((2, 2), np.float64), BitsAllocated=64, PixelRepresentation=None)
        del data.PixelData
        data.DoubleFloatPixelData = np.array([[0, value], [1, 2]], np.float64).tobytes()
        assert "is not finite" in refusal(tmp_path, data)
        data.DoubleFloatPixelData = np.array([[0, 0.5], [1, 2]], np.float64).tobytes()
        assert read(tmp_path, data).values.tolist() == [[0, 1], [0.5, 2]]

    def test_a_dose(self, tmp_path: Path) -> None:
        assert "is a radiotherapy dose" in refusal(tmp_path, picture(DoseGridScaling=1e-6))

    def test_a_slope_that_is_not_finite(self, tmp_path: Path) -> None:
        refusal(tmp_path, picture(RescaleSlope="1e300", RescaleIntercept=0))
