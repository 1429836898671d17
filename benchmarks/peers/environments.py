# SPDX-License-Identifier: Apache-2.0
"""The peers' own virtual environments, which `make peers` makes, and what runs in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

Peer = Literal["flower", "nvflare", "nvflare-filters"]

FOLDER = Path(__file__).resolve().parents[2] / ".peers"


def python_of(peer: Peer) -> Path:
    """The Python of a peer's environment.

    Raises:
        SystemExit: where that environment was not made.
    """
    python = FOLDER / peer / "bin" / "python"
    if not (FOLDER / peer / ".installed").exists():
        raise SystemExit(f"the environment of `{peer}` is not there: run `make peers` once, which makes it in {FOLDER}")
    return python


def told_by(peer: Peer, script: str, *arguments: str) -> Any:
    """What a script beside this file prints, one JSON value, run by the peer's Python.

    Raises:
        SystemExit: where the script fails; its last words are told.
    """
    command = [str(python_of(peer)), str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
