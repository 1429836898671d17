# SPDX-License-Identifier: Apache-2.0
"""How the learning rate falls over a job's rounds.

Where sites differ and take several steps in a round, averages of plain gradient steps with a rate that never falls
end at a distance from what is best for all that grows with the rate (Li et al., https://arxiv.org/abs/1907.02189,
theorem 4). With AdamW, which is what trains here, that is not proven; what it does to real texts is in
docs/benchmarks.md.
"""

from __future__ import annotations

from cloister.jobs.model import Schedule


def rate_share(schedule: Schedule, number: int, rounds: int) -> float:
    """What the job's learning rates are multiplied by in a round, above 0 and at most 1.

    Args:
        schedule: the job's: `constant` is 1 throughout, `linear` falls from 1 in the first round by as much in each,
            so that it would be 0 in the one after the last.
        number: of the round, from 1.
        rounds: how many the job has; no fewer than ``number``.
    """
    return 1.0 if schedule == "constant" else 1 - (number - 1) / rounds
