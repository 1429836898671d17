# SPDX-License-Identifier: Apache-2.0
"""The pixels of one DICOM file, as numbers that mean something (PS3.3 C.7.6.3 and C.11).

1. How much there is to decode is known, and bounded, before anything is decoded.
2. Stored values go through the modality LUT or rescale slope and intercept; then, where asked, through a window or the
   file's own VOI LUT, to numbers from 0 (black) to 1 (white).
3. Colours become RGB. A palette is looked up. Overlays, curves and previews are not pixels, and are not read.
4. MONOCHROME1, where high values are dark, is turned over, so that high values are bright in every picture; but not
   where values measure something (CT and PET, and Hounsfield units) and no window is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import get_expected_length, get_nr_frames, pixel_array
from pydicom.uid import UID, RLELossless

from cloister.errors import RecordsError
from cloister.records.images.codestream import is_whole, size_of
from cloister.records.images.dicom_place import group_of
from cloister.records.images.dicom_window import as_seen
from cloister.silos import Window

Values = npt.NDArray[Any]

MAXIMUM_VALUES = 2**28
"""The most values, rows × columns × frames × samples, of one picture or volume; 1 GiB as float32."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_MEASURES = ("CT", "PT")


def pixels_of(file: FileDataset, shown: str, window: Window | str) -> Values:
    """The pixels of ``file``.

    Args:
        file: as `cloister.records.images.dicom_file.read_file` gives it.
        shown: what messages call it.
        window: `none`, `from-file`, or a window.

    Returns:
        Values of shape (frames, rows, columns), or (frames, rows, columns, 3) for colours, in RGB; integers of at most
        32 bits, or float32.

    Raises:
        RecordsError: where there are too many, or they cannot be decoded.
    """
    require_decodable(file, shown)
    try:
        stored = _frames_first(pixel_array(file), file)
        values = _meant(stored, file, shown, window)
    except RecordsError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's bytes in any of ten decoders: whatever one says refuses
        raise RecordsError(f"`{shown}` holds pixel data that cannot be decoded", hint="export it again") from None
    return _narrowed(values, shown)


def values_in(header: Dataset, shown: str) -> int:
    """How many values there are to be decoded, by the header.

    Raises:
        RecordsError: where the header does not say, or there are more than `MAXIMUM_VALUES`.
    """
    numbers = [header.get(keyword) for keyword in ("Rows", "Columns")]
    numbers += [header.get("SamplesPerPixel", 1), header.get("NumberOfFrames") or 1]
    product = 1
    for number in numbers:
        try:
            product *= max(int(number), 0)
        except (TypeError, ValueError):
            product = 0
    if not product:
        raise RecordsError(f"`{shown}` does not say how large its picture is", hint="export it again")
    if product > MAXIMUM_VALUES:
        raise RecordsError(
            f"`{shown}` promises more than {MAXIMUM_VALUES} values", hint="split it before it comes here"
        )
    return product


def require_decodable(file: FileDataset, shown: str) -> None:
    """Check all that can be checked of the pixel data without decoding it.

    Raises:
        RecordsError: naming the file and what is wrong.
    """
    values_in(file, shown)
    stored = [keyword for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if keyword in file]
    if not stored:
        raise RecordsError(f"`{shown}` has no pixel data", hint="export it again")
    if "DoseGridScaling" in file:
        raise RecordsError(f"`{shown}` is a radiotherapy dose, whose scale and grid are not read", hint="leave it out")
    if file.get("PhotometricInterpretation") not in (*_GREY, *_COLOURS):
        raise RecordsError(f"`{shown}` is neither grey, RGB, YBR nor of a palette", hint="convert it")
    syntax = _transfer_syntax(file)
    try:
        available = syntax is not None and get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if syntax is None or not available:
        raise RecordsError(f"`{shown}` is compressed in a way that is not read", hint="decompress it first")
    if syntax.is_encapsulated:
        _check_frames(file, shown, syntax)
    else:
        _check_length(file, shown, stored[0])


def _transfer_syntax(file: FileDataset) -> UID | None:
    found = getattr(file, "file_meta", {}).get("TransferSyntaxUID")
    if isinstance(found, UID):
        # One of a maker's own is not known by its number.
        return None if found.is_private or not found.is_transfer_syntax else found
    if found is not None or not hasattr(file, "file_meta"):
        return None
    implicit, little = file.original_encoding
    guessed = UID("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2")
    file.file_meta.TransferSyntaxUID = guessed
    return guessed


def _check_length(file: FileDataset, shown: str, keyword: str) -> None:
    try:
        expected = get_expected_length(file)
        length = len(file[keyword].value)
    except Exception:  # noqa: BLE001 - attributes that are missing or of another type: all of it refuses
        raise RecordsError(f"`{shown}` does not say how its pixel data is stored", hint="export it again") from None
    if length < expected:
        raise RecordsError(
            f"`{shown}` is cut off: its pixel data is shorter than its rows and columns", hint="send it again"
        )
    if length > expected + 1:  # one byte of padding makes an odd length even
        raise RecordsError(f"`{shown}` has more pixel data than its rows and columns", hint="export it again")


def _check_frames(file: FileDataset, shown: str, syntax: UID) -> None:
    cut = RecordsError(f"`{shown}` is cut off: its compressed pixel data is not whole", hint="send it again")
    count = 0
    try:
        expected = get_nr_frames(file, warn=False)
        frames = generate_frames(file.PixelData, number_of_frames=expected)
        for frame in frames:
            count += 1
            if syntax != RLELossless:
                _check_codestream(frame, file, shown)
    except RecordsError:
        raise
    except Exception:  # noqa: BLE001 - fragments that are not where they should be: all of it refuses
        raise cut from None
    if count != expected:
        raise cut


def _check_codestream(frame: bytes, file: FileDataset, shown: str) -> None:
    size = size_of(frame)
    if size is None:
        raise RecordsError(
            f"`{shown}` holds compressed pixel data of another kind than it says", hint="export it again"
        )
    if size != (file.Rows, file.Columns, file.get("SamplesPerPixel", 1)):
        hint = "export it again"
        raise RecordsError(f"`{shown}` holds a compressed picture of another size than its header says", hint=hint)
    if not is_whole(frame):
        raise RecordsError(f"`{shown}` is cut off: its compressed pixel data is not whole", hint="send it again")


def _frames_first(stored: Values, file: FileDataset) -> Values:
    """With the machine's own order of bytes, too."""
    own = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return own if get_nr_frames(file, warn=False) > 1 else own[np.newaxis]


def _meant(stored: Values, file: FileDataset, shown: str, window: Window | str) -> Values:
    """Stored values as the standard says that they are to be understood."""
    photometric = file.PhotometricInterpretation
    if photometric not in _GREY:
        coloured = _looked_up(stored, file) if photometric == "PALETTE COLOR" else stored
        return coloured if window == "none" else (coloured / np.iinfo(coloured.dtype).max).astype(np.float32)
    dark = photometric == "MONOCHROME1"
    if window == "none":
        turned = _turned(stored, file) if dark and not _measures(file) else stored
        return _rescaled(turned, file)
    bright = as_seen(_rescaled(stored, file), file, shown, window)
    return 1 - bright if dark else bright


def _looked_up(stored: Values, file: FileDataset) -> Values:
    """Colours of a palette, in eight bits like other colours; sixteen say the same more finely."""
    found = apply_color_lut(stored, file)
    return (found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found


def _rescaled(stored: Values, file: FileDataset) -> Values:
    """Through the modality LUT or rescale of the whole file, or of each frame (PS3.3 C.7.6.16.2.9)."""
    groups = [group_of(file, frame, "PixelValueTransformationSequence") for frame in range(len(stored))]
    if "ModalityLUTSequence" in file or "RescaleSlope" in file or all(group is None for group in groups):
        return apply_modality_lut(stored, file)
    frames = [
        frame if group is None else apply_modality_lut(frame, group)
        for frame, group in zip(stored, groups, strict=True)
    ]
    return np.stack(frames)


def _measures(file: Dataset) -> bool:
    return file.get("Modality") in _MEASURES or file.get("RescaleType") == "HU"


def _turned(stored: Values, file: Dataset) -> Values:
    """High for low, inside the range that so many bits can store."""
    if stored.dtype.kind == "f":
        return -stored
    return (
        np.invert(stored) if stored.dtype.kind == "i" else stored.dtype.type((1 << int(file.BitsStored)) - 1) - stored
    )


def _narrowed(values: Values, shown: str) -> Values:
    """Rescaled values that are whole numbers as int16 or int32, others as float32; what was not rescaled as it is."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            small = values.astype(np.float32)
        if not np.isfinite(small).all():
            raise RecordsError(f"`{shown}` holds a value that is not finite", hint="export it again")
        whole = values.dtype == np.float64 and np.abs(small).max() < 2**24 and bool((np.rint(values) == values).all())
        if not whole:
            return small
        limits = np.iinfo(np.int16)
        return values.astype(np.int16 if limits.min <= values.min() and values.max() <= limits.max else np.int32)
    if values.dtype.itemsize > 4 or values.dtype == np.uint32:
        if values.max() > np.iinfo(np.int32).max or values.min() < np.iinfo(np.int32).min:
            raise RecordsError(f"`{shown}` holds whole numbers beyond 32 bits")
        return values.astype(np.int32)
    return values
