# SPDX-License-Identifier: Apache-2.0
"""What people get to read of a finished job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloister.files import write_atomically
from cloister.reports.chosen_words import chosen_words
from cloister.reports.described import described, trains_nothing
from cloister.reports.isolation import without_isolation
from cloister.reports.model_card import model_card
from cloister.reports.result_page import Comparison, result_page
from cloister.reports.statistics_page import statistics_page

__all__ = [
    "RESULT_PAGE",
    "STATISTICS_PAGE",
    "Comparison",
    "chosen_words",
    "described",
    "model_card",
    "result_page",
    "statistics_page",
    "trains_nothing",
    "without_isolation",
    "write_report",
]

RESULT_PAGE, STATISTICS_PAGE, MODEL_CARD = "result.html", "statistics.html", "MODEL_CARD.md"


def write_report(folder: Path, result: dict[str, Any], comparison: Comparison | None = None) -> tuple[str, ...]:
    """Write what people read of a result into ``folder``; returns the names of the files.

    Of a job that trains nothing that is `statistics.html` alone. Of others it is `MODEL_CARD.md` and `result.html`
    beside the weights, and `statistics.html` where features were described before the first round.

    Raises:
        JobError: where the server sent descriptions that are none; nothing is written then.
    """
    pages = {STATISTICS_PAGE: statistics_page(result)} if described(result) is not None else {}
    if not trains_nothing(result):
        card = model_card(result)
        pages |= {MODEL_CARD: card, "adapter/README.md": card, RESULT_PAGE: result_page(result, comparison)}
    for name, text in pages.items():
        write_atomically(folder / name, text.encode())
    return tuple(name for name in pages if "/" not in name)
