# SPDX-License-Identifier: Apache-2.0
"""IEEE 754 half precision: 11 bits of precision, up to 65504."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator

from cloister.errors import EgressError
from cloister.vectors import Vector
from cloister.wire import byte_planes


@dataclass(frozen=True)
class Float16:
    """Rounded to the nearest, ties to even; nothing is lost of values that came as float16.

    An update with a value above 65504 is refused, not clipped: that would be an error without a bound.
    """

    name: ClassVar[Literal["float16"]] = "float16"
    number: ClassVar[int] = 3
    limit: ClassVar[float] = float(np.finfo(np.float16).max)
    lossless: ClassVar[bool] = False

    def encode(self, block: Vector, random: Generator) -> bytes:  # noqa: ARG002  nothing is left to chance
        """See `Codec`."""
        return byte_planes.split(block.astype(np.float16).view(np.uint16))

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """See `Codec`."""
        values: Vector = byte_planes.merge(piece, count).view(np.float16).astype(np.float32)
        if not np.isfinite(values).all():
            raise EgressError("the update holds a value that is not finite")
        return values

    def largest(self, count: int) -> int:
        """See `Codec`."""
        return byte_planes.largest(count)

    def error_bound(self, block: Vector) -> Vector:
        """2^-11 of a value; 2^-25 near 0, where float16's steps are all alike."""
        return np.maximum(np.abs(block) * np.float32(2.0**-11), np.float32(2.0**-25))
