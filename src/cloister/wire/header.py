# SPDX-License-Identifier: Apache-2.0
"""The first 22 bytes of an encoded vector: what it is, and of which schema."""

from __future__ import annotations

import struct

from cloister.errors import EgressError
from cloister.wire.codec import Codec
from cloister.wire.schema import DIGEST_BYTES, Schema

_MAGIC = b"CLOV"
_VERSION = 1
_LAYOUT = struct.Struct(f"<4sBB{DIGEST_BYTES}s")

HEADER_BYTES = _LAYOUT.size
LENGTH = struct.Struct("<I")
"""Before each block's piece: how many bytes it has."""


def header(codec: Codec, schema: Schema) -> bytes:
    """What stands before the blocks."""
    return _LAYOUT.pack(_MAGIC, _VERSION, codec.number, schema.digest)


def check_header(content: bytes | memoryview, codec: Codec, schema: Schema) -> None:
    """Refuse what is not an encoded vector of ``schema`` by ``codec``.

    Raises:
        EgressError: where it is another format, version, codec or schema, or too short.
    """
    if len(content) < HEADER_BYTES:
        raise EgressError("the update ends before its first value")
    magic, version, number, digest = _LAYOUT.unpack(content[:HEADER_BYTES])
    if magic != _MAGIC:
        raise EgressError("the update is not in the form in which values travel")
    if version != _VERSION:
        raise EgressError(
            f"the update is in version {version} of its form where this one reads {_VERSION}",
            hint="let server and sites run the same version of cloister",
        )
    if number != codec.number:
        raise EgressError(f"the update is not in the form `{codec.name}` that the job names")
    if digest != schema.digest:
        raise EgressError("the update is not of this round's tensors")


def largest_encoding(codec: Codec, schema: Schema) -> int:
    """The most bytes that a vector of ``schema`` takes."""
    pieces = (LENGTH.size + codec.largest(schema.count(number)) for number in range(schema.blocks))
    return HEADER_BYTES + sum(pieces)
