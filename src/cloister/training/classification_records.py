# SPDX-License-Identifier: Apache-2.0
"""The governed view as the trainer needs it: token numbers and class numbers, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import torch

from cloister.errors import RecordsError
from cloister.training.order import Indices, by_length, shuffled

Tokenise = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Batch:
    """Padded records: token numbers and mask of shape (n, longest), classes of shape (n,), all int64."""

    tokens: torch.Tensor
    mask: torch.Tensor
    classes: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return Batch(self.tokens.to(device), self.mask.to(device), self.classes.to(device))


@dataclass(frozen=True)
class ClassificationRecords:
    """Tokenised texts with their classes.

    Attributes:
        tokens: token numbers of each text.
        classes: class number of each text, int64, shape (n,).
        padding: token number that fills up shorter texts.
    """

    tokens: list[npt.NDArray[np.int32]]
    classes: npt.NDArray[np.int64]
    padding: int

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, chosen: Indices) -> Batch:
        """The records at the indices ``chosen``, padded to the longest among them."""
        lengths = [len(self.tokens[index]) for index in chosen]
        shape = (len(chosen), max(lengths))
        tokens, mask = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64)
        for row, (index, length) in enumerate(zip(chosen, lengths, strict=True)):
            tokens[row, :length] = self.tokens[index]
            mask[row, :length] = 1
        return Batch(torch.from_numpy(tokens), torch.from_numpy(mask), torch.from_numpy(self.classes[chosen]))

    def by_length(self, batch_size: int) -> Iterator[Indices]:
        """Indices of all records in batches, shortest texts first."""
        return by_length(self._lengths(), batch_size)

    def shuffled(self, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Indices in random batches without end, see `cloister.training.order.shuffled`."""
        return shuffled(self._lengths(), batch_size, seed)

    def _lengths(self) -> Indices:
        return np.array([len(tokens) for tokens in self.tokens], np.int64)


def read_records(
    path: Path, *, text: str, label: str, labels: tuple[str, ...], tokenise: Tokenise, padding: int
) -> ClassificationRecords:
    """Read and tokenise one file of the view.

    Args:
        path: the Parquet file.
        text: column with the text.
        label: column with the class.
        labels: classes in the order of their numbers.
        tokenise: turns texts into token numbers, each list at least one long.
        padding: token number that fills up shorter texts.

    Raises:
        RecordsError: where a record has no text or a class that is not one of ``labels``; it is not quoted.
    """
    # Without threads: the sandbox counts them.
    table = pyarrow.parquet.read_table(path, columns=[text, label], use_threads=False, pre_buffer=False)
    texts, names = table.column(text).to_pylist(), table.column(label).to_pylist()
    numbers = {name: number for number, name in enumerate(labels)}
    if not all(isinstance(each, str) for each in texts) or not all(name in numbers for name in names):
        raise RecordsError("the view holds a record without text, or with a class that is not the job's")
    tokens = [np.array(each, np.int32) for each in tokenise(texts)] if texts else []
    return ClassificationRecords(tokens, np.array([numbers[name] for name in names], np.int64), padding)
