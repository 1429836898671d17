# SPDX-License-Identifier: Apache-2.0
"""Values on their way between a site and the server: bytes where they are few, a file where they are many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from cloister.files import PRIVATE_FILE

_READ_BYTES = 1 << 20
_APART_NS = 20_000_000
"""Changes of a file that are nearer to each other may have one and the same time: before Linux 6.13 it comes from
the kernel's ticks, which are up to 10 ms long."""

Payload = bytes | Path
"""Encoded values; a file is never changed, and whoever is handed it may read it until the round is over."""


def size_of(payload: Payload) -> int:
    """Bytes."""
    return len(payload) if isinstance(payload, bytes) else payload.stat().st_size


def content_of(payload: Payload) -> bytes:
    """All of it, in memory."""
    return payload if isinstance(payload, bytes) else payload.read_bytes()


def stamp_of(payload: Payload) -> tuple[int, ...] | None:
    """What is another one once a file was written to or replaced; of bytes, which do not change, nothing.

    None of a file that has just changed, since one that changes again at once might look the same.
    """
    if isinstance(payload, bytes):
        return ()
    found = payload.stat()
    if time.time_ns() - found.st_ctime_ns < _APART_NS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def pieces_of(payload: Payload) -> Iterator[bytes]:
    """All of it, in pieces that take little memory."""
    if isinstance(payload, bytes):
        yield payload
        return
    with payload.open("rb", buffering=0) as stream:
        while piece := stream.read(_READ_BYTES):
            yield piece


def keep(payload: Payload, path: Path) -> Path:
    """Put ``payload`` at ``path``: a file is moved there. Nothing is made durable: it lives as long as its round."""
    if isinstance(payload, Path):
        return payload.replace(path)
    path.touch(PRIVATE_FILE)
    path.write_bytes(payload)
    return path


def discard(payload: Payload) -> None:
    """Remove a file that nobody took over."""
    if isinstance(payload, Path):
        payload.unlink(missing_ok=True)
