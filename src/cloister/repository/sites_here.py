# SPDX-License-Identifier: Apache-2.0
"""Which sites' documents a folder must hold: all of the federation's, or those of the sites on this machine.

The repository of a whole federation has a silo and a policy for each site. A hospital's own machine has its own. Where
somebody has joined here, and the authority is elsewhere, only the sites whose workspaces are here count.
"""

from __future__ import annotations

from pathlib import Path

_STATE = ".cloister"
_WORKSPACES = ("server", "sites", "people")


def sites_here(root: Path) -> frozenset[str] | None:
    """Names of the sites whose workspaces are in the state folder of ``root``; None where every site counts."""
    state = root / _STATE
    if (state / "authority").exists() or not any((state / kind).exists() for kind in _WORKSPACES):
        return None
    return frozenset(path.name for path in (state / "sites").glob("*") if path.is_dir())
