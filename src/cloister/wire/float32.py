# SPDX-License-Identifier: Apache-2.0
"""Values as they are, four bytes each, little-endian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator

from cloister.errors import EgressError
from cloister.vectors import Vector

_WIRE = np.dtype("<f4")


@dataclass(frozen=True)
class Float32:
    """Nothing is lost. Not compressed either: zstd takes a tenth of the bytes at ten times the time."""

    name: ClassVar[Literal["float32"]] = "float32"
    number: ClassVar[int] = 1
    limit: ClassVar[float] = float(np.finfo(np.float32).max)
    lossless: ClassVar[bool] = True

    def encode(self, block: Vector, random: Generator) -> bytes:  # noqa: ARG002  nothing is left to chance
        """See `Codec`."""
        return block.astype(_WIRE, copy=False).tobytes()

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """See `Codec`."""
        if len(piece) != _WIRE.itemsize * count:
            raise EgressError("a piece of the update is not as long as its tensors")
        values: Vector = np.frombuffer(piece, _WIRE).astype(np.float32)
        if not np.isfinite(values).all():
            raise EgressError("the update holds a value that is not finite")
        return values

    def largest(self, count: int) -> int:
        """See `Codec`."""
        return _WIRE.itemsize * count

    def error_bound(self, block: Vector) -> Vector:
        """None."""
        return np.zeros_like(block)
