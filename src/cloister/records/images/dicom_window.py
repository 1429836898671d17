# SPDX-License-Identifier: Apache-2.0
"""What a window makes of rescaled values: numbers from 0 (black) to 1 (white) (PS3.3 C.11.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_voi

from cloister.errors import RecordsError
from cloister.records.images.dicom_place import group_of
from cloister.silos import Window

Values = npt.NDArray[Any]


def as_seen(values: Values, file: Dataset, shown: str, window: Window | str) -> npt.NDArray[np.float32]:
    """``values`` through ``window``, or the file's own first VOI LUT, or else its first window.

    Args:
        values: rescaled values, shape (frames, rows, columns).
        file: what the window is read from, where it is `from-file`.
        shown: what messages call the file.
        window: a window, or `from-file`.

    Raises:
        RecordsError: where the file is to say, and says nothing.
    """
    if isinstance(window, Window):
        return _linear(values, window.centre, window.width)
    if "VOILUTSequence" in file and file.VOILUTSequence:
        # PS3.3 C.11.2.1.1: the third number of the descriptor is how many bits an entry has.
        bits = file.VOILUTSequence[0].LUTDescriptor[2]
        return np.asarray(np.clip(apply_voi(values, file) / (2**bits - 1), 0, 1), np.float32)
    frames = [
        _by(frame, group_of(file, index, "FrameVOILUTSequence") or file, shown) for index, frame in enumerate(values)
    ]
    return np.stack(frames)


def _by(values: Values, file: Dataset, shown: str) -> npt.NDArray[np.float32]:
    """One frame through the window that the file, or the frame's functional group, states first."""
    centre, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    function = str(file.get("VOILUTFunction") or "LINEAR")
    if centre is None or width is None or not width >= (1 if function == "LINEAR" else 1e-9):
        hint = "give `window` a `centre` and a `width` in the silo document"
        raise RecordsError(f"`{shown}` says nothing of the window that it is to be seen through", hint=hint)
    relative = (values.astype(np.float64) - centre) / width
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * relative)), np.float32)
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip(relative + 0.5, 0, 1), np.float32)
    return _linear(values, centre, width)


def _linear(values: Values, centre: float, width: float) -> npt.NDArray[np.float32]:
    """PS3.3 C.11.2.1.2.1: a width of 1 is a threshold."""
    shifted = values.astype(np.float64) - (centre - 0.5)
    if width <= 1:
        return np.asarray(shifted > 0, np.float32)
    return np.asarray(np.clip(shifted / (width - 1) + 0.5, 0, 1), np.float32)


def _first(value: Any) -> float | None:
    found = value[0] if isinstance(value, MultiValue) and value else value
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
