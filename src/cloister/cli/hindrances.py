# SPDX-License-Identifier: Apache-2.0
"""What hinders the sites of a simulation, as lines that are printed once and tell equal reasons together."""

from __future__ import annotations

from cloister.cli.progress_table import hindered
from cloister.flare.job_view import JobView
from cloister.simulation import grouped


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
        self._seen |= set(hindered(view))
        step = view.progress.get("phase"), view.progress.get("round")
        if step == self._step and not over:
            return []
        self._step = step
        new = [line for who, why in grouped(self._seen) if (line := f"  {who}: {why}") not in self._told]
        self._told.update(new)
        return new
