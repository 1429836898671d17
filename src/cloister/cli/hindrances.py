# SPDX-License-Identifier: Apache-2.0
"""What hinders the sites of a simulation, as lines that are printed once and tell equal reasons together."""

from __future__ import annotations

from cloister.cli.progress_table import hindered
from cloister.flare.grouped_reasons import grouped
from cloister.flare.job_view import JobView

_FIRST = "preparing"
"""The first step of all; who does not get through it has announced no records, and is not asked again."""


class Hindrances:
    """What was told already, and what waits until the sites of its step have been heard.

    A line that is printed cannot grow, and sites answer one after another: so a step's reasons are told when the next
    begins, or when all is over. Where more sites say what was told before, it is told again of all of them.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._told: set[str] = set()
        self._step: tuple[object, object] = (None, None)

    def lines(self, view: JobView, *, over: bool) -> list[str]:
        """What there is to say now that was not said before.

        Args:
            view: how far the simulation is.
            over: whether it has ended, one way or another.
        """
        now, before = set(hindered(view)), self._seen
        self._seen = before | now
        step = view.progress.get("phase"), view.progress.get("round")
        if step == self._step and not over:
            return []
        self._step = step
        ripe = self._seen if over else before | {pair for pair in now if _is_past(pair[0], view)}
        new = [line for who, why in grouped(ripe) if (line := f"  {who}: {why}") not in self._told]
        self._told.update(new)
        return new


def _is_past(site: str, view: JobView) -> bool:
    """Whether what hindered ``site`` was before the step that runs, in which others may still say the same."""
    known = view.progress.get("sites", {}).get(site)
    return known is None or (view.progress["phase"] != _FIRST and known["training"] is None)
