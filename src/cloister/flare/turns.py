# SPDX-License-Identifier: Apache-2.0
"""Which of its rounds a job was asked for at a site: each once, in order, and none that it does not state.

The policy limits how many rounds there are, so a server may neither add any nor repeat one.
"""

from __future__ import annotations

from cloister.errors import DeniedError


class Turns:
    """The rounds of one job at one site.

    Args:
        rounds: how many the job states.

    Attributes:
        last: the round that was asked for last; 0 before the first.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.last = 0

    def train(self, number: int) -> None:
        """Count a round of training.

        Raises:
            DeniedError: where it is not due.
        """
        self._take(number, range(1, self._rounds + 1))

    def evaluate(self, number: int) -> None:
        """Count the measurement behind the last round.

        Raises:
            DeniedError: where it is not due.
        """
        self._take(number, range(self._rounds + 1, self._rounds + 2))

    def _take(self, number: int, due: range) -> None:
        if number not in due or number <= self.last:
            raise DeniedError(f"the server asks for round {number} out of turn")
        self.last = number
