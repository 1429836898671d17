# SPDX-License-Identifier: Apache-2.0
"""15 multiples of a step that 256 values share, two to a byte before zstd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator

from cloister.errors import EgressError
from cloister.vectors import Vector
from cloister.wire import nibbles, quantisation, quantised_piece
from cloister.wire.quantisation import Quantised

_LEVELS = 7
_ZERO = _LEVELS + 1


@dataclass(frozen=True)
class Int4:
    """A value is off by less than 1/7 of the largest in its group, and up to a sixteenth more."""

    name: ClassVar[Literal["int4"]] = "int4"
    number: ClassVar[int] = 5
    limit: ClassVar[float] = quantisation.LIMIT
    lossless: ClassVar[bool] = False

    def encode(self, block: Vector, random: Generator) -> bytes:
        """See `Codec`."""
        quantised = quantisation.quantise(block, _LEVELS, random)
        codes = quantised.codes
        even = np.append(codes, np.uint8(_ZERO)) if codes.size % 2 else codes
        return quantised_piece.write(quantised.steps, nibbles.pack(even))

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """See `Codec`."""
        steps, packed = quantised_piece.read(piece, count, _bytes(count))
        codes = nibbles.unpack(packed)
        if (codes[count:] != _ZERO).any():
            raise EgressError("a piece of the update has more codes than its tensors have values")
        return quantisation.restore(Quantised(steps, codes[:count]), _LEVELS)

    def largest(self, count: int) -> int:
        """See `Codec`."""
        return quantised_piece.largest(count, _bytes(count))

    def error_bound(self, block: Vector) -> Vector:
        """One step: the group's largest absolute value over 7, rounded up to five significant bits."""
        return quantisation.error_bound(block, _LEVELS)


def _bytes(count: int) -> int:
    return -(-count // 2)
