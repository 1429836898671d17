# SPDX-License-Identifier: Apache-2.0
"""How often a record like this one came before, so that equal records need not fall on one side of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MAXIMUM_TRACKED = 1 << 16
"""Of so many different records occurrences are counted; where there are more, no count of them tells of a few."""


class Occurrences:
    """Counts records that are told by numbers of 64 bits, from batch to batch."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def of(self, numbers: Sequence[int], indices: pa.Array) -> npt.NDArray[np.int64]:
        """How often each record of a batch came before; 0 for the first, and for those that are not tracked.

        Args:
            numbers: of the different records in the batch.
            indices: for each record, which of ``numbers`` is its own, shape (n,).
        """
        which = indices.to_numpy(zero_copy_only=False).astype(np.int64)
        times = np.bincount(which, minlength=len(numbers)).tolist()
        before = np.zeros(len(numbers), np.int64)
        tracked = np.ones(len(numbers), np.bool_)
        for place, (number, count) in enumerate(zip(numbers, times, strict=True)):
            known = self._counts.get(number)
            if known is None and len(self._counts) >= MAXIMUM_TRACKED:
                tracked[place] = False
                continue
            before[place] = known or 0
            self._counts[number] = (known or 0) + count
        return np.where(tracked[which], before[which] + _within(which), 0)


def _within(which: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each number of ``which`` stands before it in ``which``."""
    order = np.argsort(which, kind="stable")
    sorted_ = which[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_[1:] != sorted_[:-1]])[: len(sorted_)])
    lengths = np.diff(np.append(starts, len(sorted_)))
    ranks = np.arange(len(sorted_)) - np.repeat(starts, lengths)
    found = np.empty(len(which), np.int64)
    found[order] = ranks
    return found
