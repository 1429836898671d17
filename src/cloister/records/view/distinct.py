# SPDX-License-Identifier: Apache-2.0
"""How many different people records are about, counted while they stream by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SORTED_IN_AT = 100_000


class Distinct:
    """Counts different numbers of 64 bits; two people of one number among a million are one case in some thousands.

    Eight bytes are kept for each, and as many again until they are sorted in.
    """

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._new: list[npt.NDArray[np.uint64]] = []
        self._pending = 0

    def add(self, numbers: npt.NDArray[np.uint64]) -> None:
        """Take ``numbers``, shape (n,), into account."""
        self._new.append(numbers)
        self._pending += len(numbers)
        if self._pending > max(len(self._known), _SORTED_IN_AT):
            self._sort_in()

    def __len__(self) -> int:
        self._sort_in()
        return len(self._known)

    def _sort_in(self) -> None:
        if self._new:
            together = np.sort(np.concatenate([self._known, *self._new]))
            first = np.concatenate([[True], together[1:] != together[:-1]])
            self._known = together[first[: len(together)]]
            self._new, self._pending = [], 0
