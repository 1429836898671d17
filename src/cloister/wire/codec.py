# SPDX-License-Identifier: Apache-2.0
"""What every codec does: it makes bytes of one block of values, and values of those bytes."""

from __future__ import annotations

from typing import Protocol

from numpy.random import Generator

from cloister.jobs.compression import CodecName
from cloister.vectors import Vector


class Codec(Protocol):
    """One form in which values travel; it holds no state. Each block stands by itself, and is not empty."""

    @property
    def name(self) -> CodecName:
        """What a job calls it."""

    @property
    def number(self) -> int:
        """What stands for it in a header; a number that was given keeps its meaning."""

    @property
    def limit(self) -> float:
        """The largest absolute value that it takes."""

    @property
    def lossless(self) -> bool:
        """Whether every float32 value comes back as it was."""

    def encode(self, block: Vector, random: Generator) -> bytes:
        """The bytes of ``block``, which is left as it is.

        Args:
            block: float32, every value finite and at most `limit`; `encoder` has looked.
            random: decides which way values are rounded, where that is left to chance; the same state, the same bytes.
        """

    def decode(self, piece: bytes | memoryview, count: int) -> Vector:
        """The ``count`` values that ``piece`` stands for, in memory of their own; all are finite.

        Takes no more memory than a few times that of the values, whatever ``piece`` says.

        Raises:
            EgressError: where ``piece`` is not what `encode` makes of so many values.
        """

    def largest(self, count: int) -> int:
        """The most bytes that `encode` makes of ``count`` values."""

    def error_bound(self, block: Vector) -> Vector:
        """How far each value of ``block`` may at most be from what comes back, float32, one each."""
