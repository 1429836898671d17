# SPDX-License-Identifier: Apache-2.0
"""Ours in place of a part of NVFlare's; where a release has no such part, nothing starts.

To set an attribute that nobody reads would go unnoticed, and what it was to guard would be open.
"""

from __future__ import annotations

from typing import Any

from nvflare import __version__

from cloister.errors import FederationError


def substitute(owner: Any, name: str, ours: Any) -> None:
    """Have ``ours`` be called in place of what ``owner``, a class or module of NVFlare's, has under ``name``.

    Raises:
        FederationError: where it has nothing there that can be called.
    """
    if not callable(getattr(owner, name, None)):  # inherited counts: NVFlare calls it on the class that is given here
        message = f"NVFlare {__version__} has no `{owner.__name__}.{name}`, which has to be replaced"
        raise FederationError(message, hint="install the release of NVFlare that constraints.txt names")
    setattr(owner, name, ours)
