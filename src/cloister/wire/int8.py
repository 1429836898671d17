# SPDX-License-Identifier: Apache-2.0
"""255 multiples of a step that 256 values share, one byte each before zstd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from numpy.random import Generator

from cloister.vectors import Vector
from cloister.wire import quantisation, quantised_piece
from cloister.wire.quantisation import Quantised

_LEVELS = 127


@dataclass(frozen=True)
class Int8:
    """A value is off by less than 1/127 of the largest in its group, and up to a sixteenth more."""

    name: ClassVar[Literal["int8"]] = "int8"
    number: ClassVar[int] = 4
    limit: ClassVar[float] = quantisation.LIMIT
    lossless: ClassVar[bool] = False

    def encode(self, block: Vector, random: Generator) -> bytes:
        """See `Codec`."""
        quantised = quantisation.quantise(block, _LEVELS, random)
        return quantised_piece.write(quantised.steps, quantised.codes)

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """See `Codec`."""
        return quantisation.restore(Quantised(*quantised_piece.read(piece, count, count)), _LEVELS)

    def largest(self, count: int) -> int:
        """See `Codec`."""
        return quantised_piece.largest(count, count)

    def error_bound(self, block: Vector) -> Vector:
        """One step: the group's largest absolute value over 127, rounded up to five significant bits."""
        return quantisation.error_bound(block, _LEVELS)
