# SPDX-License-Identifier: Apache-2.0
"""The upper half of a float32: its exponent, and 8 bits of precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import ml_dtypes
import numpy as np
from numpy.random import Generator

from cloister.errors import EgressError
from cloister.vectors import Vector
from cloister.wire import byte_planes


@dataclass(frozen=True)
class Bfloat16:
    """Rounded to the nearest, ties to even; nothing is lost of values that came as bfloat16."""

    name: ClassVar[Literal["bfloat16"]] = "bfloat16"
    number: ClassVar[int] = 2
    limit: ClassVar[float] = (2 - 2.0**-7) * 2.0**127
    lossless: ClassVar[bool] = False

    def encode(self, block: Vector, random: Generator) -> bytes:  # noqa: ARG002  nothing is left to chance
        """See `Codec`."""
        return byte_planes.split(block.astype(ml_dtypes.bfloat16).view(np.uint16))

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """See `Codec`."""
        values: Vector = byte_planes.merge(piece, count).view(ml_dtypes.bfloat16).astype(np.float32)
        if not np.isfinite(values).all():
            raise EgressError("the update holds a value that is not finite")
        return values

    def largest(self, count: int) -> int:
        """See `Codec`."""
        return byte_planes.largest(count)

    def error_bound(self, block: Vector) -> Vector:
        """2^-8 of a value; 2^-134 near 0, where bfloat16's steps are all alike."""
        return np.maximum(np.abs(block) * np.float32(2.0**-8), np.float32(2.0**-134))
