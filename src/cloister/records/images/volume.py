# SPDX-License-Identifier: Apache-2.0
"""A picture or a volume, as it goes from a store into a view: values and where they lie in space, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Volume:
    """Pixels or voxels.

    Attributes:
        values: float32 or integers, shape (x, y), (x, y, z) or (x, y, z, channels); z is 1 for a picture in colour.
        affine: from voxel indices to millimetres in the patient's right-anterior-superior space, float64, shape (4, 4),
            as NIfTI-1 has it (https://nifti.nimh.nih.gov/nifti-1).

    Raises:
        ValueError: where the shapes are others, a value is not finite, or the affine cannot be turned back.
    """

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3, 4) or not self.values.size:
            raise ValueError("has no two, three or four dimensions")
        if self.values.dtype.kind == "f" and not np.isfinite(self.values).all():
            raise ValueError("holds a value that is not finite")
        if self.values.dtype.kind not in "fiu":
            raise ValueError("holds values that are no numbers")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError("has no place in space that can be computed with")
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-12:
            raise ValueError("has no extent in some direction of space")
