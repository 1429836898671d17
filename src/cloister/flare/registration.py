# SPDX-License-Identifier: Apache-2.0
"""Whether a site has registered with the server, as its own process wrote it down."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

_WORDS = "Successfully registered client"
_LOG = "log.txt"
_TAIL_BYTES = 1 << 20


def has_registered(workspace: Path, since: float) -> bool:
    """Whether the site's log says so, in its last MiB.

    Args:
        workspace: of the site.
        since: seconds since the epoch; what was written before does not count.
    """
    try:
        with (workspace / _LOG).open("rb") as stream:
            stream.seek(max(0, (workspace / _LOG).stat().st_size - _TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return False
    return any(_WORDS in line and _time_of(line) >= since for line in lines)


def _time_of(line: str) -> float:
    """When a line was written; 0 where it does not say."""
    try:  # the log's format, `cloister.flare.kit`: local time with milliseconds after a comma
        return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp() + 0.001
    except ValueError:
        return 0.0
