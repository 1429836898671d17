# SPDX-License-Identifier: Apache-2.0
"""In which order records are taken, and in which batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

# A group of so many batches is sorted by length before it is cut, so that a batch holds texts of like length and
# little of it is padding; wide enough to do that, narrow enough to stay random.
_BATCHES_PER_GROUP = 16


class OfLength(ABC):
    """Records of different length."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    @abstractmethod
    def lengths(self) -> Indices:
        """Of each record, shape (n,)."""

    def by_length(self, batch_size: int) -> Iterator[Indices]:
        """Indices of all records in batches, see `by_length`."""
        return by_length(self.lengths, batch_size)

    def shuffled(self, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Indices in random batches without end, see `shuffled`."""
        return shuffled(self.lengths, batch_size, seed)


def in_order(records: int, batch_size: int) -> Iterator[Indices]:
    """Indices of all of so many ``records`` in batches."""
    yield from _cut(np.arange(records), batch_size)


def by_length(lengths: Indices, batch_size: int) -> Iterator[Indices]:
    """Indices of all records in batches, shortest first; ``lengths`` has shape (n,)."""
    yield from _cut(np.argsort(lengths, kind="stable"), batch_size)


def shuffled(lengths: Indices, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
    """Indices in random batches without end: every record once, then all again in another order.

    Where the batch size does not divide the number of records, the last batch of each pass is the smaller one.

    Args:
        lengths: of the records, shape (n,); batches hold such of like length.
        batch_size: records in a batch.
        seed: decides the order.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    whole = len(lengths) - len(lengths) % batch_size
    while True:
        order = random.permutation(len(lengths))
        groups = _cut(order[:whole], batch_size * _BATCHES_PER_GROUP)
        batches = [batch for group in groups for batch in _cut(group[np.argsort(lengths[group])], batch_size)]
        yield from (batches[position] for position in random.permutation(len(batches)))
        if whole < len(lengths):
            yield order[whole:]


def _cut(indices: Indices, size: int) -> list[Indices]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]
