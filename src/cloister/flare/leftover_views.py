# SPDX-License-Identifier: Apache-2.0
"""Views that job processes left at a site because they were killed: records that nobody needs any more."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

_log = logging.getLogger(__name__)


def remove_leftover_views(workspace: Path) -> None:
    """Remove every job's view, whole or half-written, from a site's NVFlare ``workspace``; the trainers' logs stay."""
    for private in workspace.glob("*/private"):
        for left in (*private.glob("view"), *private.glob(".view.*")):
            _log.warning("job %s left its view behind; it is removed", private.parent.name)
            shutil.rmtree(left, ignore_errors=True)
