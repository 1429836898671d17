# SPDX-License-Identifier: Apache-2.0
"""Where DICOM pictures lie in the patient, and how several make up a volume (PS3.3 C.7.6.2 and C.7.6.16).

1. Indices count columns, then rows, then slices: x, y, z. DICOM's coordinates grow to the patient's left, back and head
   (LPS), those of a `Volume` to the right, front and head (RAS): the first two change sign.
2. Slices are put in the order of their positions along the normal of their plane. They make up a volume where all lie
   in one direction, and evenly: none is further from its place in an even stack than a tenth of the step.
3. A picture that says nothing of the patient, such as a radiograph or an ultrasound image, lies at zero, its columns to
   the left and its rows to the back, with the pixel spacing that it states, or else 1 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from cloister.errors import RecordsError

Numbers = npt.NDArray[np.float64]

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PERPENDICULAR = 1e-2  # of unit vectors; headers round them to six digits at best, and to two at worst
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3  # mm
_EVEN = 0.1  # of a step


@dataclass(frozen=True)
class Plane:
    """Where one slice lies, LPS, mm.

    Attributes:
        position: of the middle of the first pixel, shape (3,).
        across: from one column to the next, shape (3,).
        down: from one row to the next, shape (3,).
    """

    position: Numbers
    across: Numbers
    down: Numbers

    @property
    def normal(self) -> Numbers:
        """Unit vector that is perpendicular to the slice, shape (3,)."""
        cross = np.cross(self.across, self.down)
        return np.asarray(cross / np.linalg.norm(cross), np.float64)


def frames_of(header: Dataset) -> int:
    """How many frames the header says that there are."""
    try:
        return max(1, int(header.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def group_of(header: Dataset, frame: int, keyword: str) -> Dataset | None:
    """A functional group of one frame, or of all frames (PS3.3 C.7.6.16.1); None where there is none."""
    for name, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        groups = header.get(name)
        found = groups[index].get(keyword) if groups and index < len(groups) else None
        if found:
            return found[0]  # type: ignore[no-any-return]
    return None


def planes_of(header: Dataset, shown: str) -> list[Plane]:
    """The plane of each frame; empty where nothing says where the picture lies.

    Raises:
        RecordsError: where the place is stated in part, or makes no sense.
    """
    if "SharedFunctionalGroupsSequence" in header or "PerFrameFunctionalGroupsSequence" in header:
        each = [_stated_by_groups(header, frame) for frame in range(frames_of(header))]
    else:
        each = [tuple(header.get(keyword) for keyword in _PLACE)]
    if not any(value for stated in each for value in stated[:2]):
        return []
    return [_plane(stated, shown) for stated in each]


def volume_affine(planes: Sequence[Plane], shown: str) -> tuple[list[int], Numbers]:
    """The order of slices, and the affine of the volume that they make up.

    Args:
        planes: two or more.
        shown: what messages call the volume.

    Returns:
        The planes' numbers in their order along the normal, and the affine, RAS, shape (4, 4).

    Raises:
        RecordsError: where they make up no volume.
    """
    first = planes[0]
    for plane in planes:
        turned = max(np.abs(_unit(plane.across) - _unit(first.across)).max(), np.abs(plane.normal - first.normal).max())
        if turned > _SAME_DIRECTION:
            raise RecordsError(f"`{shown}` has slices in different directions", hint="keep one direction in a series")
        if np.abs(_lengths(plane) - _lengths(first)).max() > _SAME_SPACING:
            raise RecordsError(f"`{shown}` has slices with different pixel spacings", hint="keep one in a series")
    along = np.array([plane.position @ first.normal for plane in planes])
    order = [int(index) for index in np.argsort(along, kind="stable")]
    positions = np.array([planes[index].position for index in order])
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    length = float(np.linalg.norm(step))
    if np.diff(along[order]).min() < max(length * _EVEN, 1e-4):
        hint = "a series may hold one time, one echo and one reconstruction"
        raise RecordsError(f"`{shown}` has two slices at the same place", hint=hint)
    even = positions[0] + np.arange(len(planes))[:, np.newaxis] * step
    if np.linalg.norm(positions - even, axis=1).max() > _EVEN * length:
        raise RecordsError(f"`{shown}` has slices at uneven distances", hint="one may be missing")
    return order, _affine(positions[0], first.across, first.down, step)


def single_affine(header: Dataset, planes: Sequence[Plane], shown: str) -> Numbers:
    """The affine of one plane, or of frames that do not say where each of them lies, RAS, shape (4, 4).

    Args:
        header: of the file.
        planes: one, or none.
        shown: what messages call the file.

    Raises:
        RecordsError: where a spacing is stated and makes no sense.
    """
    between = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    depth = abs(float(_numbers(between, 1, shown)[0])) if between else 1.0
    depth = depth or 1.0
    if planes:
        return _affine(planes[0].position, planes[0].across, planes[0].down, planes[0].normal * depth)
    spacing = next((header.get(name) for name in ("PixelSpacing", "ImagerPixelSpacing") if header.get(name)), (1, 1))
    rows, columns = _spacing(spacing, shown)
    zero, left, back, up = np.zeros(3), *np.eye(3)
    return _affine(zero, left * columns, back * rows, up * depth)


_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_GROUPS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")


def _stated_by_groups(header: Dataset, frame: int) -> tuple[Any, ...]:
    found = [group_of(header, frame, group) for group in _GROUPS]
    return tuple(
        group.get(keyword) if group is not None else None for group, keyword in zip(found, _PLACE, strict=True)
    )


def _plane(stated: tuple[Any, ...], shown: str) -> Plane:
    for value, words in zip(stated, ("position", "orientation", "pixel spacing"), strict=True):
        if not value:
            raise RecordsError(f"`{shown}` does not state its {words}", hint="export it again, or leave it out")
    position, directions = _numbers(stated[0], 3, shown), _numbers(stated[1], 6, shown)
    across, down = directions[:3], directions[3:]
    lengths = np.array([np.linalg.norm(across), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > _PERPENDICULAR or abs(across @ down) > _PERPENDICULAR:
        raise RecordsError(f"`{shown}` states an orientation that is none", hint="export it again, or leave it out")
    rows, columns = _spacing(stated[2], shown)
    return Plane(position, across / lengths[0] * columns, down / lengths[1] * rows)


def _spacing(value: Any, shown: str) -> Numbers:
    """From row to row, and from column to column, mm."""
    found = _numbers(value, 2, shown)
    if found.min() <= 0:
        raise RecordsError(f"`{shown}` states a pixel spacing that is none", hint="export it again, or leave it out")
    return found


def _numbers(value: Any, count: int, shown: str) -> Numbers:
    try:
        found = np.array([float(each) for each in (value if count > 1 else [value])], np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise RecordsError(f"`{shown}` states a place in space that is none", hint="export it again, or leave it out")
    return found


def _affine(origin: Numbers, across: Numbers, down: Numbers, step: Numbers) -> Numbers:
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3] = across, down, step, origin
    return np.asarray(_TO_RAS @ lps, np.float64)


def _unit(vector: Numbers) -> Numbers:
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


def _lengths(plane: Plane) -> Numbers:
    return np.array([np.linalg.norm(plane.across), np.linalg.norm(plane.down)])
