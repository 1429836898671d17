# SPDX-License-Identifier: Apache-2.0
"""The course of a job at the server: what is asked of whom, one thing after another, until there is a result."""

from __future__ import annotations

from collections.abc import Callable

from cloister.flare.exchange import Ask, TaskName
from cloister.flare.rounds import Rounds
from cloister.flare.task import Task

AskSites = Callable[[TaskName, list[str], list[Task]], None]
"""Asks sites for one thing, some perhaps in other words; returns once the answers were handed in to the rounds."""


def run_course(rounds: Rounds, ask: AskSites, before_writing: Callable[[str, int], None] | None = None) -> None:
    """Prepare, train round by round, measure, choose.

    Args:
        rounds: the job's, not begun yet.
        ask: asks the sites.
        before_writing: see `Rounds.finish`.

    Raises:
        CloisterError: where the job cannot go on.
    """
    ask(TaskName.PREPARE, rounds.invited, [Task(tuple(rounds.invited), Ask(round=0))])
    if rounds.job.form.statistics:
        whole, there = rounds.pool(), rounds.taking_part
        if not rounds.job.trains:
            rounds.finish_described(before_writing)
            return
        ask(TaskName.SETTLE, there, [Task(tuple(there), Ask(round=0, statistics=whole))])
    rounds.begin()
    while (number := rounds.next_round()) is not None:
        asked = rounds.asked(number)
        ask(TaskName.TRAIN, asked, rounds.tasks(number, asked))
        rounds.finish_round()
    there = rounds.taking_part
    ask(TaskName.EVALUATE, there, rounds.tasks(rounds.last + 1, there))
    rounds.finish(before_writing)
