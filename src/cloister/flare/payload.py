# SPDX-License-Identifier: Apache-2.0
"""Values on their way between a site and the server: bytes where they are few, a file where they are many."""

from __future__ import annotations

from pathlib import Path

from cloister.files import PRIVATE_FILE

Payload = bytes | Path
"""Encoded values; a file is never changed, and whoever is handed it may read it until the round is over."""


def size_of(payload: Payload) -> int:
    """Bytes."""
    return len(payload) if isinstance(payload, bytes) else payload.stat().st_size


def content_of(payload: Payload) -> bytes:
    """All of it, in memory."""
    return payload if isinstance(payload, bytes) else payload.read_bytes()


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
