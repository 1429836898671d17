# SPDX-License-Identifier: Apache-2.0
"""In words how far a round's low-rank factors are from the sum of the sites' products."""

from __future__ import annotations

from typing import Any


def factor_words(entry: dict[str, Any]) -> str:
    """Of one round of a job's `history`; empty where its rule sums no products."""
    told = entry.get("factors")
    if not told:
        return ""
    wrong = told["averaging_error"]
    averaging = [] if wrong is None else [f"averaging factors would have been off by {_share(wrong)}"]
    return ", ".join([*averaging, f"{_share(told['cut_off'])} cut off"])


def _share(value: float) -> str:
    """A share of one in per cent, with what can be read of it; below a millionth it is rounding, and nothing."""
    if value < 1e-6:
        return "0 %"
    return f"{100 * value:.2g} %" if value < 1 else f"{100 * value:.0f} %"
