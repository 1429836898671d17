# SPDX-License-Identifier: Apache-2.0
"""Whether a result comes from a simulation, in words."""

from __future__ import annotations

from typing import Any


def simulated(result: dict[str, Any]) -> str:
    """The sentence that says so; empty of a federation's result."""
    told = result.get("simulation")
    if not isinstance(told, dict):
        return ""
    where = "Simulated on one machine"
    if told.get("sites") is None:
        return f"{where}: no record was at another organisation."
    alpha = told.get("skew")
    skew = f", classes by Dirichlet({alpha:g})" if isinstance(alpha, int | float) else ""
    return f"{where}: the sites are copies, among which the records were dealt out{skew}."
