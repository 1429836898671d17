# SPDX-License-Identifier: Apache-2.0
"""The governed view as the trainer needs it: token numbers and class numbers, and batches of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cloister.training.order import Indices, OfLength
from cloister.training.view_columns import read_columns, wrong_row

Tokenise = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Batch:
    """Padded records: token numbers and mask of shape (n, longest), classes of shape (n,), all int64."""

    tokens: torch.Tensor
    mask: torch.Tensor
    classes: torch.Tensor


@dataclass(frozen=True)
class ClassificationRecords(OfLength):
    """Tokenised texts with their classes.

    Attributes:
        tokens: token numbers of each text.
        classes: class number of each text, int64, shape (n,).
        padding: token number that fills up shorter texts.
    """

    tokens: list[npt.NDArray[np.int32]]
    classes: npt.NDArray[np.int64]
    padding: int

    @property
    def lengths(self) -> Indices:
        """Number of tokens of each text, shape (n,)."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def batch(self, chosen: Indices, device: torch.device) -> Batch:
        """The records at the indices ``chosen``, padded to the longest among them, on ``device``."""
        shape = (len(chosen), max(len(self.tokens[index]) for index in chosen))
        tokens, mask = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64)
        for row, index in enumerate(chosen):
            length = len(self.tokens[index])
            tokens[row, :length], mask[row, :length] = self.tokens[index], 1
        return Batch(*(torch.from_numpy(array).to(device) for array in (tokens, mask, self.classes[chosen])))


def read_classification_records(  # noqa: PLR0913 - what is read, each by its name
    view: str, file: str, *, text: str, label: str, labels: tuple[str, ...], tokenise: Tokenise, padding: int
) -> ClassificationRecords:
    """Read and tokenise one file of the view.

    Args:
        view: its folder.
        file: the Parquet file in it.
        text: column with the text.
        label: column with the class.
        labels: classes in the order of their numbers.
        tokenise: turns texts into token numbers, each list at least one long.
        padding: token number that fills up shorter texts.

    Raises:
        RecordsError: where a record has no text or a class that is not one of ``labels``; it is not quoted.
    """
    texts, names = read_columns(view, file, text, label)
    numbers = {name: number for number, name in enumerate(labels)}
    for index, (said, name) in enumerate(zip(texts, names, strict=True)):
        if not isinstance(said, str):
            raise wrong_row(file, index, text, "holds no text")
        if name not in numbers:
            raise wrong_row(file, index, label, "holds a class that is not the job's")
    tokens = [np.array(each, np.int32) for each in tokenise(texts)] if texts else []
    return ClassificationRecords(tokens, np.array([numbers[name] for name in names], np.int64), padding)
