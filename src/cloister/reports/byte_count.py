# SPDX-License-Identifier: Apache-2.0
"""Numbers of bytes for people."""

from __future__ import annotations


def size_of(count: int) -> str:
    """Bytes in a unit that people read."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
