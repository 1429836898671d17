# SPDX-License-Identifier: Apache-2.0
"""The end that receives: an encoded vector, in memory or in a file, read block by block."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import EgressError
from cloister.vectors import Vector
from cloister.wire.codec import Codec
from cloister.wire.header import HEADER_BYTES, LENGTH, check_header
from cloister.wire.schema import Schema


@dataclass(frozen=True)
class EncodedVector:
    """An update as it came: a `Source` whose values are decoded each time they are asked for.

    Attributes:
        content: its bytes, or the file that holds them and does not change any more.
        codec: in which form its values travel.
        schema: its tensors.
        index: where each block's piece begins, and how many bytes it has.
    """

    content: bytes | Path
    codec: Codec
    schema: Schema
    index: tuple[tuple[int, int], ...]

    @classmethod
    def open(cls, content: bytes | Path, codec: Codec, schema: Schema) -> EncodedVector:
        """Look at header and lengths, and at no value.

        Raises:
            EgressError: where it is not an encoded vector of ``schema`` by ``codec``, or is cut off or goes on after
                its last block.
            OSError: where the file cannot be read.
        """
        check_header(_read(content, 0, HEADER_BYTES), codec, schema)
        index, place, end = [], HEADER_BYTES, _length(content)
        for number in range(schema.blocks):
            prefix = _read(content, place, LENGTH.size)
            if len(prefix) < LENGTH.size:
                raise EgressError("the update ends before its last value")
            (length,) = LENGTH.unpack(prefix)
            place += LENGTH.size
            if length > codec.largest(schema.count(number)):
                raise EgressError("a piece of the update is longer than its tensors can be")
            if place + length > end:
                raise EgressError("the update ends before its last value")
            index.append((place, length))
            place += length
        if place != end:
            raise EgressError("the update goes on after its last value")
        return cls(content, codec, schema, tuple(index))

    @property
    def size(self) -> int:
        """Number of values."""
        return self.schema.size

    def block(self, number: int) -> Vector:
        """Block ``number``, from 0, float32, in memory of its own.

        Raises:
            EgressError: where the block's piece does not hold its values, or one that is not finite.
            OSError: where the file cannot be read.
        """
        place, length = self.index[number]
        piece = _read(self.content, place, length)
        if len(piece) != length:
            raise EgressError("the update ends before its last value")
        return self.codec.decode(piece, self.schema.count(number))

    def check(self) -> None:
        """Decode every block once, and keep none.

        Raises:
            EgressError: where one cannot be, or holds a value that is not finite.
            OSError: where the file cannot be read.
        """
        for number in range(self.schema.blocks):
            self.block(number)


def _length(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _read(content: bytes | Path, place: int, length: int) -> bytes | memoryview:
    if isinstance(content, bytes):
        return memoryview(content)[place : place + length]
    descriptor = os.open(content, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, place)
    finally:
        os.close(descriptor)
