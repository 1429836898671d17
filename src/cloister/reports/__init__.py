# SPDX-License-Identifier: Apache-2.0
"""What people get to read of a finished job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloister.files import write_atomically
from cloister.reports.isolation import without_isolation
from cloister.reports.model_card import model_card
from cloister.reports.result_page import Comparison, result_page

__all__ = ["Comparison", "model_card", "result_page", "without_isolation", "write_report"]


def write_report(folder: Path, result: dict[str, Any], comparison: Comparison | None = None) -> None:
    """Write `MODEL_CARD.md` and `result.html` beside the adapter in ``folder``."""
    card = model_card(result).encode()
    write_atomically(folder / "MODEL_CARD.md", card)
    write_atomically(folder / "adapter" / "README.md", card)
    write_atomically(folder / "result.html", result_page(result, comparison).encode())
