# SPDX-License-Identifier: Apache-2.0
"""`cloister down`: stop everything that this federation runs on this machine."""

from __future__ import annotations

from pathlib import Path

from cloister.cli.options import FolderOption, JsonOption, output
from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation


def down(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Stop all of this federation on this machine.

    Server, sites, their jobs and their trainers; also what a crash left behind.
    """
    del as_json
    out = output()
    root = find_root(folder.resolve())
    # The roster alone is read: a mistake in some other document must not keep processes alive.
    roster = load(root / ROSTER, Federation, name=ROSTER).value
    local = LocalFederation(root, roster)
    if local.running():
        out.say("stopping …")
    stopped = local.stop()
    out.say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    out.result({"stopped": stopped})
