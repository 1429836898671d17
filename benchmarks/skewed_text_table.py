# SPDX-License-Identifier: Apache-2.0
"""The table of `skewed_text.py`, from its file of results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from skewed_text_plan import METHODS, POOLED, Plan

Result = dict[str, Any]


def table(name: str, plan: Plan, results: Sequence[Result]) -> str:
    """Markdown: by method accuracy, how far from pooled training by seed, after the last round as well, and bytes."""
    mine = [each for each in results if each.get("name") == name and each["plan"] == plan.key() and not each["tuned"]]
    found = {method: {e["seed"]: e for e in mine if e["method"] == method} for method in METHODS}
    lines = [
        f"| {name} | accuracy | points from pooled | last round of both | bytes up | NVFlare over that | bytes down "
        "| seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, by_seed in found.items():
        if len(by_seed) > 1:  # of one seed there is no spread
            lines.append(_row(method, by_seed, found[POOLED]))
    if mine:
        shape = f"{plan.rounds} rounds of {plan.steps} steps of {plan.batch} texts at each site"
        lines.append(f"\n{shape}; NVFlare's update has {mine[0]['nvflare']} bytes.")
    lines += [_paired(found, *pair) for pair in _pairs()]
    return "\n".join(line for line in lines if line)


def _pairs() -> list[tuple[str, str]]:
    """Methods that differ in how values travel alone."""
    found = []
    for method in METHODS:
        for end in (", int4", ", int4 up", ", int4, nesterov", ", int8", ", int4 without error feedback"):
            whole = method.removesuffix(end) + ", float32" + (", nesterov" if end.endswith("nesterov") else "")
            if method.endswith(end) and whole in METHODS:
                found.append((method, whole))
    return found


def _row(method: str, by_seed: dict[int, Result], pooled: dict[int, Result]) -> str:
    values = [each["accuracy"] for each in by_seed.values()]
    away, last = (_points(by_seed, pooled, key) for key in ("accuracy", "last"))
    up, down = (statistics.mean(each[key] for each in by_seed.values()) for key in ("up", "down"))
    nvflare = next(iter(by_seed.values()))["nvflare"]
    sent = [f"{up:.0f}", f"{nvflare / up:.1f}", f"{down:.0f}"] if up else ["", "", ""]
    shown = [_spread(each, 2) if each and method != POOLED else "" for each in (away, last)]
    return " ".join(f"| {cell}".rstrip() for cell in (method, _spread(values, 4), *shown, *sent, len(by_seed))) + " |"


def _paired(found: dict[str, dict[int, Result]], method: str, whole: str) -> str:
    seeds = sorted(set(found[method]) & set(found[whole]))
    away, last = (_points(found[method], found[whole], key) for key in ("accuracy", "last"))
    return (
        f"{method} against {whole}: {_spread(away, 2)} points, after the last round {_spread(last, 2)}, "
        f"over {len(seeds)} seeds"
        if len(seeds) > 1
        else ""
    )


def _points(these: dict[int, Result], those: dict[int, Result], key: str) -> list[float]:
    """By how many points of accuracy ``these`` are above ``those``, seed by seed."""
    return [100 * (these[seed][key] - those[seed][key]) for seed in sorted(set(these) & set(those))]


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"
