# SPDX-License-Identifier: Apache-2.0
"""Updates that a job's process left because it was killed: each is one site's alone, and nobody may keep it.

NVFlare packs up what lies in a job's folder at the server when the process has ended, for whoever fetches the result.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

RECEIVED = "received"
"""The folder of a job's run in which lies what came from other processes and is too large for a message."""

TENSORS = "tensors"
"""The folder, among what is a site's alone, in which lies what passes between it and its trainer."""

_WORK = "-work"

_log = logging.getLogger(__name__)


def work_folder(result: Path) -> Path:
    """Where lies what lives no longer than the job whose result is written to ``result``."""
    return result.with_name(result.name + _WORK)


def remove_leftover_updates(run: Path) -> None:
    """Remove what is no result from the folder of a job's ``run``, once its process has ended."""
    for left in (run / RECEIVED, run / "private" / TENSORS, *run.glob("*" + _WORK)):
        if left.is_dir() and not left.is_symlink():
            if any(left.iterdir()):
                _log.warning("job %s left updates behind; they are removed", run.name)
            shutil.rmtree(left, ignore_errors=True)
