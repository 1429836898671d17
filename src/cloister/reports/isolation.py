# SPDX-License-Identifier: Apache-2.0
"""Which sites trained without isolation: whoever uses a result is to learn it, wherever the result is shown."""

from __future__ import annotations

from typing import Any


def without_isolation(result: dict[str, Any]) -> list[str]:
    """Names of the sites whose policy switched the sandbox off, sorted.

    Args:
        result: the content of a job's `result.json`.
    """
    return sorted(name for name, site in result["sites"].items() if site["sandbox"] not in (None, "bubblewrap"))
