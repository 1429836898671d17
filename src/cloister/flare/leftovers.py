# SPDX-License-Identifier: Apache-2.0
"""What job processes left at a site because they were killed: records, and what was learnt from them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from cloister.flare.leftover_updates import remove_leftover_updates

_log = logging.getLogger(__name__)


def remove_leftovers(workspace: Path) -> None:
    """Remove every job's view, whole or half-written, and its tensors from a site's NVFlare ``workspace``.

    The trainers' logs stay.
    """
    for private in workspace.glob("*/private"):
        for left in (*private.glob("view"), *private.glob(".view.*")):
            _log.warning("job %s left its view behind; it is removed", private.parent.name)
            shutil.rmtree(left, ignore_errors=True)
        remove_leftover_updates(private.parent)
