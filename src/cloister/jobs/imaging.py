# SPDX-License-Identifier: Apache-2.0
"""How pictures and volumes are brought to one form before a network sees them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from cloister.documents import Model

Millimetres = Annotated[float, Field(gt=0, le=100)]
Voxels = Annotated[int, Field(ge=4, le=1024)]


class Intensities(Model):
    """Values that become 0 and 1; what lies beyond is cut off.

    Attributes:
        low: becomes 0. Of computed tomography these are Hounsfield units.
        high: becomes 1.
    """

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high <= self.low:
            raise ValueError("has a `high` that is not above its `low`")
        return self


class Imaging(Model):
    """One form for all images of a job.

    Attributes:
        size: extent in pixels or voxels along each axis; longer images are cropped about their centre, shorter ones
            padded with zeros.
        spacing: distance of neighbouring voxels along each axis, mm, to which images are resampled; as they are where
            not given.
        intensities: range of values that is scaled to 0 … 1; where not given each image is scaled to mean 0 and
            variance 1.
        channels: of each image: 1, or 3 for colour.
    """

    size: tuple[Voxels, ...] = Field(min_length=2, max_length=3)
    spacing: tuple[Millimetres, ...] | None = Field(default=None, min_length=2, max_length=3)
    intensities: Intensities | None = None
    channels: Annotated[int, Field(ge=1, le=4)] = 1

    @model_validator(mode="after")
    def _as_many_spacings_as_axes(self) -> Self:
        if self.spacing is not None and len(self.spacing) != len(self.size):
            raise ValueError(f"has {len(self.size)} axes in `size` and {len(self.spacing)} in `spacing`")
        return self
