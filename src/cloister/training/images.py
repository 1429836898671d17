# SPDX-License-Identifier: Apache-2.0
"""Pictures, volumes and masks of the governed view, brought to the one form that a job declares, by MONAI's transforms.

1. Volumes are turned so that their axes point to the right, to the front and up; pictures stay as they are.
2. Where the job says a spacing, voxels are made anew at that distance: images linearly, masks by the nearest.
3. Intensities are scaled, as the job says, or each channel of each image to mean 0 and variance 1.
4. What is longer than the job's size is cropped about its centre, what is shorter padded with zeros.

Nothing is drawn: the same file gives the same tensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, NibabelReader
from monai.transforms import (
    CenterSpatialCrop,
    Compose,
    EnsureChannelFirst,
    NormalizeIntensity,
    Orientation,
    ScaleIntensityRange,
    Spacing,
    SpatialPad,
)
from nibabel.filebasedimages import ImageFileError

from cloister.jobs.imaging import Imaging


class FormError(ValueError):
    """A file that cannot be brought to the job's form; says why, as the end of a sentence about its row."""


class ImageReader:
    """Reads files of one job.

    Args:
        imaging: the form.
        classes: how many numbers a mask may hold: 0 to one less.
    """

    def __init__(self, imaging: Imaging, classes: int) -> None:
        self._imaging, self._classes = imaging, classes
        # Not by `LoadImage`, which would make ready the readers of all other formats as well.
        self._reader = NibabelReader()
        self._image = Compose([*self._placing("bilinear"), self._scaling()])
        self._mask = Compose(self._placing("nearest"))
        self._extent = Compose([CenterSpatialCrop(roi_size=imaging.size), SpatialPad(spatial_size=imaging.size)])

    def image(self, path: Path) -> torch.Tensor:
        """The image in the file ``path``, shape (channels, *size), float32.

        Raises:
            FormError: where it is none, or has other dimensions or channels than the job says.
        """
        found = self._read(path)
        if len(found) != self._imaging.channels:
            raise FormError(f"names an image of {len(found)} channels, and the job says {self._imaging.channels}")
        return self._sized(self._image(found)).float()

    def mask(self, path: Path) -> torch.Tensor:
        """The class of each voxel in the file ``path``, shape (1, *size), uint8 or int16.

        Raises:
            FormError: where it is no mask of the job's classes.
        """
        found = self._read(path)
        values = _plain(found)
        if len(values) != 1:
            raise FormError("names a mask of several channels")
        if not torch.equal(values, values.round()) or values.min() < 0 or values.max() >= self._classes:
            raise FormError(f"names a mask with a value that is no whole number from 0 to {self._classes - 1}")
        return self._sized(self._mask(found)).round().to(torch.uint8 if self._classes <= 256 else torch.int16)

    def _read(self, path: Path) -> MetaTensor:
        """The values in ``path``, channels first, with their place in space."""
        try:
            values, place = self._reader.get_data(self._reader.read(path))
        except (OSError, ValueError, TypeError, RuntimeError, KeyError, ImageFileError) as error:
            raise FormError("names an image that cannot be read") from error
        loaded = MetaTensor(torch.from_numpy(values.astype(np.float32)), affine=place["affine"])
        dimensions = len(self._imaging.size)
        axes = min(loaded.ndim, 3)
        channel: Any = -1 if loaded.ndim == 4 else "no_channel"
        first = EnsureChannelFirst(channel_dim=channel)(loaded)
        if dimensions == 2 and axes == 3 and first.shape[-1] == 1:
            first, axes = first.squeeze(-1), 2
        if axes != dimensions:
            raise FormError(f"names an image of {axes} dimensions, and the job says {dimensions}")
        if dimensions == 2:
            # The plane of a picture may stand anywhere in space; what matters is how far its pixels are apart.
            apart = torch.linalg.norm(torch.as_tensor(first.affine)[:3, :2], dim=0)
            first = MetaTensor(_plain(first), affine=torch.diag(torch.cat((apart, apart.new_ones(2)))))
        return first

    def _sized(self, found: MetaTensor) -> torch.Tensor:
        # Most of what reading a small picture takes would be cropping nothing from it.
        return _plain(found if found.shape[1:] == self._imaging.size else self._extent(found))

    def _placing(self, mode: str) -> list[Any]:
        steps: list[Any] = [] if len(self._imaging.size) == 2 else [Orientation(axcodes="RAS", labels=None)]
        if self._imaging.spacing is not None:
            steps.append(Spacing(pixdim=self._imaging.spacing, mode=mode, padding_mode="border"))
        return steps

    def _scaling(self) -> Any:
        said = self._imaging.intensities
        if said is None:
            return NormalizeIntensity(channel_wise=True)
        return ScaleIntensityRange(a_min=said.low, a_max=said.high, b_min=0.0, b_max=1.0, clip=True)


def _plain(tensor: Any) -> torch.Tensor:
    """Without where it came from, which would be carried along."""
    plain: torch.Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain.contiguous()
