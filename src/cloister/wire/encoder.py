# SPDX-License-Identifier: Apache-2.0
"""One end that sends: makes bytes of vectors, and keeps what rounding took from them for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cloister.errors import EgressError
from cloister.in_order import in_order
from cloister.vectors import BLOCK_VALUES, ArraySource, Source, Vector
from cloister.wire.codec import Codec
from cloister.wire.header import LENGTH, header
from cloister.wire.residual import Residual
from cloister.wire.rounding import generator
from cloister.wire.schema import Schema


@dataclass(frozen=True)
class Encoded:
    """A vector as it travels, or one block of it.

    Attributes:
        content: its bytes: the header, and length and piece of each block; the header goes with the first one.
        values: what the receiver will read: decoded from those bytes.
    """

    content: bytes
    values: Vector


class Encoder:
    """Encodes one sender's vectors, round by round."""

    def __init__(self, codec: Codec, *, error_feedback: bool) -> None:
        """Begin with nothing left over.

        Args:
            codec: in which form values travel.
            error_feedback: whether what one round's rounding took is added to the next round's values
                (https://arxiv.org/abs/1809.07599, algorithm 1). A tensor that is not sent in between keeps its share.
        """
        self.codec = codec
        self._residual = Residual() if error_feedback and not codec.lossless else None

    def encode(self, vector: Vector, schema: Schema, seed: int) -> Encoded:
        """``vector`` as bytes; it is left as it is.

        Args:
            vector: float32, of ``schema.size`` values.
            schema: its tensors.
            seed: what rounding is drawn from, see `rounding_seed`; another one for each vector.

        Raises:
            EgressError: where a value is not finite, or larger than the codec takes, or there are more or fewer than
                ``schema`` has. What was left over is then as it was.
        """
        values, contents = np.empty(schema.size, np.float32), []
        for number, piece in enumerate(self.pieces(ArraySource(vector), schema, seed)):
            contents.append(piece.content)
            values[number * BLOCK_VALUES :][: piece.values.size] = piece.values
        return Encoded(b"".join(contents), values)

    def pieces(self, source: Source, schema: Schema, seed: int, *, at_once: bool = False) -> Iterator[Encoded]:
        """As `encode`, of values that are read twice, block by block: looked at, and encoded.

        Nothing is given out before all were looked at. Whoever stops half-way has lost what was left over of the blocks
        that were given out, and of some more. With ``at_once`` they are read once, and each block is looked at just
        before it is encoded: where one raises, what was left over of others is lost. Blocks of ``source`` are asked for
        by several threads.
        """
        if source.size != schema.size:
            raise EgressError(f"the update has {source.size} values where {schema.size} belong")
        if not at_once:
            for number in range(schema.blocks):
                self._check(self._block(source, schema, number), schema, number)
        if self._residual is not None:
            self._residual.make_room(schema)

        def piece(number: int) -> Encoded:
            block = self._block(source, schema, number)
            if at_once:
                self._check(block, schema, number)
            content = self.codec.encode(block, generator(seed, number))
            values = self.codec.decode(content, block.size)
            if self._residual is not None:
                self._residual.keep(schema, number, np.subtract(block, values, out=block))
            return Encoded(content, values)

        begin = header(self.codec, schema)
        if not schema.blocks:
            yield Encoded(begin, np.empty(0, np.float32))
        for each in in_order(piece, schema.blocks):
            yield replace(each, content=b"".join((begin, LENGTH.pack(len(each.content)), each.content)))
            begin = b""

    def _check(self, block: Vector, schema: Schema, number: int) -> None:
        largest = max(block.max(), -block.min())  # both NaN where one value is
        if not np.isfinite(largest):
            place = number * BLOCK_VALUES + int(np.argmin(np.isfinite(block)))
            name = next(name for name, where in schema.places.items() if where.start <= place < where.stop)
            raise EgressError(f"the update of tensor `{name}` holds a value that is not finite")
        if largest > self.codec.limit:
            raise EgressError(
                f"the update holds a value above {self.codec.limit:g}, the largest in the form `{self.codec.name}`",
                hint="name another form under `compression`",
            )

    def _block(self, source: Source, schema: Schema, number: int) -> Vector:
        block = source.block(number)
        if block.shape != (schema.count(number),) or block.dtype != np.float32:
            raise EgressError("the update is not one row of float32 values")
        if self._residual is not None:
            self._residual.add_to(block, schema, number)
        return block
