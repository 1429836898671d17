# SPDX-License-Identifier: Apache-2.0
"""In what form an update's values travel, block by block; docs/compression.md has it byte by byte."""

from cloister.wire.codec import Codec
from cloister.wire.codecs import CODECS
from cloister.wire.decoding import EncodedVector
from cloister.wire.encoder import Encoded, Encoder
from cloister.wire.header import largest_encoding
from cloister.wire.rounding import Direction, rounding_seed
from cloister.wire.schema import Schema, flatten, unflatten

__all__ = [
    "CODECS",
    "Codec",
    "Direction",
    "Encoded",
    "EncodedVector",
    "Encoder",
    "Schema",
    "flatten",
    "largest_encoding",
    "rounding_seed",
    "unflatten",
]
