# SPDX-License-Identifier: Apache-2.0
"""One NIfTI file as a `Volume` (https://nifti.nimh.nih.gov/nifti-1, nifti-2), read by nibabel.

1. The header is read first, and says how many bytes follow. No more than those are inflated; a file that holds more, or
   less, is refused.
2. `scl_slope` and `scl_inter` are applied. A value that is not finite refuses the file.
3. Where a volume lies: by the sform where its code is not zero, else by the qform where its code is not zero, else by
   the voxel sizes alone. That is what nibabel does, and MONAI's reader with it. Where both forms are set and differ,
   the sform is taken: it is the one that registration writes.
4. Everything else in the header (descriptions, names, extensions) is dropped.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
import numpy.typing as npt

from cloister.errors import RecordsError
from cloister.records.images.volume import Volume

MAXIMUM_VALUES = 2**28
"""The most values of one file."""

_MAXIMUM_BYTES = 2 << 30
_MAXIMUM_OFFSET = 16 << 20  # the header's extensions stand before the values
_UNITS_OF_SPACE, _OTHER_UNITS = 7, (1, 3)  # metres and micrometres; nibabel and MONAI take either for millimetres
_GZIP = b"\x1f\x8b"
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_KINDS = {_NIFTI1_BYTES: (nibabel.Nifti1Image, b"n+1\x00", 344), _NIFTI2_BYTES: (nibabel.Nifti2Image, b"n+2\x00", 4)}
"""By the size of the header: nibabel's class, the magic of a single file, and where that stands."""

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)  # it quotes headers


def read_nifti(path: Path, shown: str) -> Volume:
    """The volume in the file at ``path``, `.nii` or `.nii.gz`, by its content and not by its name.

    Args:
        path: where it lies.
        shown: what messages call it.

    Returns:
        Values of shape (x, y), (x, y, z) or (x, y, z, channels), float32 or integers of at most 32 bits.

    Raises:
        RecordsError: naming the file and what is wrong.
    """
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == _GZIP
            stream.seek(0)
            data = _whole(gzip.GzipFile(fileobj=stream) if zipped else stream, shown)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise RecordsError(f"`{shown}` is cut off or damaged: it cannot be inflated", hint="copy it again") from None
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise RecordsError(f"`{shown}` cannot be opened: {reason}") from error
    try:
        image = _class_of(data[:_NIFTI2_BYTES], shown).from_bytes(data)
        affine = np.asarray(image.affine, np.float64)
        # A slope of 1 and an intercept of 0 say nothing; taken at their word they would make floats of a mask's labels.
        plain = (image.dataobj.slope, image.dataobj.inter) == (1, 0)
        values = image.dataobj.get_unscaled() if plain else np.asanyarray(image.dataobj)
    except RecordsError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's bytes: whatever nibabel says of them refuses
        raise RecordsError(f"`{shown}` has a header that makes no sense", hint="export it again") from None
    return _volume(values, affine, shown)


def _whole(stream: BinaryIO | gzip.GzipFile, shown: str) -> bytes:
    """The file's bytes, as many as its header says."""
    start = stream.read(_NIFTI2_BYTES)
    header = _header(start, shown)
    try:
        shape = [int(length) for length in header.get_data_shape()]
        item, offset = header.get_data_dtype().itemsize, int(header.get_data_offset())
    except Exception:  # noqa: BLE001 - types that there are not, lengths below zero: all of it refuses
        raise RecordsError(f"`{shown}` has a header that makes no sense", hint="export it again") from None
    if not 1 <= int(header["dim"][0]) <= 7 or np.isinf(header["scl_slope"]):
        raise RecordsError(f"`{shown}` has a header that makes no sense", hint="export it again")
    if int(header["xyzt_units"]) & _UNITS_OF_SPACE in _OTHER_UNITS:
        raise RecordsError(f"`{shown}` is measured in metres or micrometres", hint="convert its affine to millimetres")
    if min(shape) < 1:
        raise RecordsError(f"`{shown}` holds no values")
    if math.prod(shape) > MAXIMUM_VALUES or math.prod(shape) * item > _MAXIMUM_BYTES:
        raise RecordsError(
            f"`{shown}` promises more than {MAXIMUM_VALUES} values", hint="split it before it comes here"
        )
    if not len(header.binaryblock) <= offset <= _MAXIMUM_OFFSET:
        raise RecordsError(f"`{shown}` has a header that makes no sense", hint="export it again")
    expected = offset + math.prod(shape) * item
    data = start + _read(stream, expected - len(start))
    if len(data) < expected:
        raise RecordsError(f"`{shown}` is cut off: it is shorter than its header says", hint="copy it again")
    if len(data) > expected or stream.read(1):
        raise RecordsError(f"`{shown}` is longer than its header says", hint="export it again")
    return data


def _read(stream: BinaryIO | gzip.GzipFile, count: int) -> bytes:
    """A file object may give less than it is asked for, before its end."""
    pieces = io.BytesIO()
    while pieces.tell() < count and (piece := stream.read(min(count - pieces.tell(), 16 << 20))):
        pieces.write(piece)
    return pieces.getvalue()


def _class_of(start: bytes, shown: str) -> Any:
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        kind, magic, at = _KINDS.get(size, (None, b"", 0))
        if kind is not None and start[at : at + 4] == magic:
            return kind
    hint = "a NIfTI file is one `.nii` or `.nii.gz`; pairs of `.hdr` and `.img` are converted first"
    raise RecordsError(f"`{shown}` is not a NIfTI file", hint=hint)


def _header(start: bytes, shown: str) -> Any:
    kind = _class_of(start, shown).header_class
    try:
        return kind(start[: kind.sizeof_hdr], check=False)
    except Exception:  # noqa: BLE001 - see above
        raise RecordsError(f"`{shown}` is cut off: it is shorter than its header says", hint="copy it again") from None


def _volume(values: npt.NDArray[Any], affine: npt.NDArray[np.float64], shown: str) -> Volume:
    # NIfTI has room for time in the fourth dimension and for channels in the fifth; dimensions of one are none.
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 5 and values.shape[3] == 1:
        values = values[:, :, :, 0]
    if values.ndim not in (2, 3, 4):
        raise RecordsError(
            f"`{shown}` has neither two, three nor four dimensions", hint="split it before it comes here"
        )
    try:
        return Volume(_narrowed(values, shown), affine)
    except ValueError as error:
        raise RecordsError(f"`{shown}` {error}", hint="export it again, or leave it out") from None


def _narrowed(values: npt.NDArray[Any], shown: str) -> npt.NDArray[Any]:
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32)
    if values.dtype.kind not in "iu":
        raise RecordsError(f"`{shown}` holds colours or complex numbers", hint="convert it to numbers")
    if values.dtype.itemsize > 4 or values.dtype == np.uint32:
        limits = np.iinfo(np.int32)
        if values.max() > limits.max or values.min() < limits.min:
            raise RecordsError(f"`{shown}` holds whole numbers beyond 32 bits", hint="convert it to float32")
        return values.astype(np.int32)
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="))
