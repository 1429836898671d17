# SPDX-License-Identifier: Apache-2.0
"""One DICOM file, or all files of one series, as a `Volume`: values and where they lie, nothing of the headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydicom.dataset import FileDataset

from cloister.errors import RecordsError
from cloister.records.images.dicom_file import read_file, read_header
from cloister.records.images.dicom_pixels import MAXIMUM_VALUES, Values, pixels_of, values_in
from cloister.records.images.dicom_place import Numbers, frames_of, planes_of, single_affine, volume_affine
from cloister.records.images.image_folder import ImageFolder
from cloister.records.images.volume import Volume
from cloister.silos import Window


def volume_of_file(file: FileDataset, shown: str, window: Window | str) -> Volume:
    """One file: a picture of shape (x, y), frames of shape (x, y, z), or colours of shape (x, y, z, 3).

    Args:
        file: as `cloister.records.images.dicom_file.read_file` gives it.
        shown: what messages call it.
        window: see `cloister.records.images.dicom_pixels.pixels_of`.

    Raises:
        RecordsError: where it is no picture that can be used.
    """
    order, affine = _place(file, shown)
    values = pixels_of(file, shown, window)
    if values.shape[0] != frames_of(file):
        raise RecordsError(f"`{shown}` holds other frames than its header says", hint="export it again")
    return _volume(values[order] if len(order) > 1 else values, affine, shown, flat=frames_of(file) == 1)


Check = Callable[[FileDataset, str], None]
"""Raises where a file, by its header, may not be used; is given what messages call it, too."""


def volume_of_series(folder: ImageFolder, names: Sequence[str], window: Window | str, check: Check) -> Volume:
    """All files of one series: a volume of shape (x, y, z) or (x, y, z, 3).

    Args:
        folder: in which they lie.
        names: of the files.
        window: see `cloister.records.images.dicom_pixels.pixels_of`.
        check: asked of each file.

    Raises:
        RecordsError: where they make up no volume.
    """
    shown = folder.shown_file(names[0])
    if len(names) == 1:
        file = read_file(folder.file(names[0]), shown)
        check(file, shown)
        return _single(file, shown, window)
    planes, size = [], 0
    for name in names:
        header, each = read_header(folder.file(name), folder.shown_file(name)), folder.shown_file(name)
        if header is None:
            raise RecordsError(f"`{each}` is not a DICOM image", hint="it was one before; export it again")
        check(header, each)
        if frames_of(header) > 1:
            raise RecordsError(f"`{each}` holds several frames, and so does its series", hint="set `unit` to instance")
        found = planes_of(header, each)
        if not found:
            hint = "pictures that are no slices are read with `unit: instance`"
            raise RecordsError(f"`{each}` does not state its position, and its series has other files", hint=hint)
        planes += found
        size += values_in(header, each)
        if size > MAXIMUM_VALUES:
            raise RecordsError(f"`{shown}` and the rest of its series promise more than {MAXIMUM_VALUES} values")
    order, affine = volume_affine(planes, shown)
    return _volume(_stacked(folder, [names[index] for index in order], window), affine, shown)


def _single(file: FileDataset, shown: str, window: Window | str) -> Volume:
    volume = volume_of_file(file, shown, window)
    values = volume.values if volume.values.ndim > 2 else volume.values[:, :, np.newaxis]
    return Volume(values, volume.affine)


def _stacked(folder: ImageFolder, names: Sequence[str], window: Window | str) -> Values:
    slices: list[Values] = []
    for name in names:
        shown = folder.shown_file(name)
        slices.append(pixels_of(read_file(folder.file(name), shown), shown, window))
        if slices[-1].shape != slices[0].shape:
            raise RecordsError(f"`{shown}` is of another size than the other slices of its series")
    together = np.concatenate(slices)
    # Of whole numbers in one slice and fractions in another NumPy makes wider ones than a volume has.
    return together.astype(np.float32) if together.dtype == np.float64 else together


def _place(file: FileDataset, shown: str) -> tuple[list[int], Numbers]:
    planes = planes_of(file, shown)
    if len(planes) > 1:
        return volume_affine(planes, shown)
    return [0], single_affine(file, planes, shown)


def _volume(values: Values, affine: Numbers, shown: str, *, flat: bool = False) -> Volume:
    """From (z, y, x) or (z, y, x, 3) to (x, y, z) or (x, y, z, 3); to (x, y) where there is one grey picture."""
    turned = values.transpose(2, 1, 0, *range(3, values.ndim))
    if flat and turned.ndim == 3:
        turned = turned[:, :, 0]
    try:
        return Volume(np.ascontiguousarray(turned), affine)
    except ValueError as error:
        raise RecordsError(f"`{shown}` {error}", hint="export it again, or leave it out") from None
