# SPDX-License-Identifier: Apache-2.0
"""Which sites' documents a folder must hold: all of the federation's, or those of the sites on this machine.

The repository of a whole federation has a silo and a policy for each site. A hospital's own machine has its own, and
that of the server, of a person or of the authority may have none. As soon as anybody has a workspace here, only the
sites that have one count.
"""

from __future__ import annotations

from pathlib import Path

_STATE = ".cloister"
_WHOSE = ("authority", "server", "sites", "people")


def sites_here(root: Path) -> frozenset[str] | None:
    """Names of the sites whose workspaces are in the state folder of ``root``; None where every site counts."""
    state = root / _STATE
    if not any((state / kind).exists() for kind in _WHOSE):
        return None
    return frozenset(path.name for path in (state / "sites").glob("*") if path.is_dir())
