# SPDX-License-Identifier: Apache-2.0
"""Archives that say they are small and inflate without end, and how much memory reading one takes."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

INFLATED = 24 << 20
"""What the entry inflates to."""


def bomb(name: str, method: int, declared: int = 1000) -> bytes:
    """An archive of one entry, compressed with ``method``, that declares ``declared`` bytes and holds many more."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", method, compresslevel=9) as archive,
        archive.open(name, "w") as entry,
    ):
        for _ in range(INFLATED >> 20):
            entry.write(bytes(1 << 20))
    content = bytearray(stream.getvalue())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", declared)
    return bytes(content)


def peak_of(act: Callable[[], object]) -> int:
    """The most bytes that ``act`` held at once."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
