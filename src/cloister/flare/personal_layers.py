# SPDX-License-Identifier: Apache-2.0
"""What of a job's network is a site's alone, as the site keeps it after the job: the newest jobs' and no more."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from cloister.egress import write_adapter
from cloister.files import private_folder, write_atomically
from cloister.jobs.adapter import Arrays

PERSONAL = "personal"
"""The folder in a site's workspace that it lies in."""

KEPT_JOBS, KEPT_DAYS = 20, 180
"""So many jobs' layers are kept, and none for longer: they have learnt from records and lie unencrypted."""

_SUFFIX = ".safetensors"


def keep_personal(workspace: Path, job_id: str, arrays: Arrays, now: float | None = None) -> Path:
    """Write down what job ``job_id`` leaves at the site, mode 0600, and remove what was kept for long enough.

    Args:
        workspace: the site's.
        job_id: NVFlare's identifier.
        arrays: by the names that they have in the network.
        now: seconds since the epoch; the clock's where it is None.
    """
    path = private_folder(workspace / PERSONAL) / f"{job_id}{_SUFFIX}"
    write_atomically(path, write_adapter(arrays))
    trim_personal(workspace, now)
    return path


def trim_personal(workspace: Path, now: float | None = None) -> None:
    """Remove what is older than `KEPT_DAYS`, and of the rest all but the newest `KEPT_JOBS`; see `keep_personal`."""
    oldest = (time.time() if now is None else now) - KEPT_DAYS * 24 * 3600
    written = []
    for path in (workspace / PERSONAL).glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another job's process removed it meanwhile
            written.append((path.stat().st_mtime, path))
    for place, (moment, path) in enumerate(sorted(written, reverse=True)):
        if place >= KEPT_JOBS or moment < oldest:
            path.unlink(missing_ok=True)
