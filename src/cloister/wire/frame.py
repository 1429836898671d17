# SPDX-License-Identifier: Apache-2.0
"""One zstd frame (RFC 8878) of a content whose length both ends know, so that none can grow beyond it."""

from __future__ import annotations

import zstandard

from cloister.errors import EgressError

_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS  # four bytes fewer, and no frames that are skipped

_COMPRESSION = zstandard.ZstdCompressionParameters.from_level(1, format=_FORMAT, min_match=7, hash_log=6)
"""What is left to gain is in how often each byte comes, which is found whatever is searched for repetitions: a small
table of them loses nothing here, and takes less than half of level 1's time."""


def compress(content: bytes | memoryview) -> bytes:
    """``content`` as one frame that states its length."""
    return zstandard.ZstdCompressor(compression_params=_COMPRESSION).compress(content)


def decompress(frame: bytes | memoryview, size: int) -> bytes:
    """The ``size`` bytes in ``frame``; a frame that says otherwise is refused before anything is unpacked.

    Raises:
        EgressError: where it is no frame, holds more or fewer bytes, or is followed by anything.
    """
    try:
        stated = zstandard.get_frame_parameters(frame, format=_FORMAT)
        if stated.content_size != size:
            raise EgressError("a piece of the update is not as long as its tensors")
        unpacker = zstandard.ZstdDecompressor(format=_FORMAT)  # has no dictionary, so refuses frames that want one
        return unpacker.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise EgressError("a piece of the update cannot be unpacked") from error


def largest(size: int) -> int:
    """The most bytes that a frame of ``size`` bytes takes (ZSTD_COMPRESSBOUND in zstd.h)."""
    return size + (size >> 8) + max(0, (1 << 17) - size >> 11) + 64
