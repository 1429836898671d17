# SPDX-License-Identifier: Apache-2.0
"""The governed view's images with the class of each, or with the mask of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cloister.errors import TrainerError
from cloister.jobs import DatasetRef
from cloister.training.images import FormError, ImageReader
from cloister.training.order import Indices, in_order, shuffled
from cloister.training.view_columns import read_columns, wrong_row

CACHE_BYTES = 512 * 2**20
"""Images in memory; those beyond are read each time anew."""

Example = tuple[torch.Tensor, torch.Tensor]


class ImageRecords:
    """Records of one file of the view.

    As many as are kept in memory are read at once, so that a wrong one is found before the first round.

    Args:
        view: its folder.
        file: of its files, the one to read.
        dataset: which column is what.
        reader: brings images to the job's form.
        cache_bytes: how much of them is kept in memory.

    Raises:
        RecordsError: where the file cannot be read, or a row is not what the job needs; it is not quoted.
        TrainerError: where the job names no column with images, or none with what to say of them.
    """

    def __init__(
        self, view: str, file: str, dataset: DatasetRef, reader: ImageReader, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        aim = dataset.label or dataset.mask
        if dataset.image is None or aim is None:
            raise TrainerError("the job names no column with images, or none with what is to be said of them")
        self._view, self._file, self._reader = Path(view), file, reader
        self._image, self._aim, self._masks = dataset.image, aim, dataset.label is None
        images, aims = read_columns(view, file, dataset.image, aim)
        self._images: list[str] = [self._filled(index, dataset.image, cell) for index, cell in enumerate(images)]
        self._aims: list[str] = [self._filled(index, aim, cell) for index, cell in enumerate(aims)]
        self._numbers = {name: torch.tensor(number) for number, name in enumerate(dataset.labels)}
        self._kept: dict[int, Example] = {}
        self._left = cache_bytes
        self._fill()

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, chosen: Indices, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and what is to be said of them, for the records at the indices ``chosen``, on ``device``.

        Returns:
            Images, shape (n, channels, *size), float32; classes, shape (n,), or masks, shape (n, 1, *size), int64.

        Raises:
            RecordsError: where a row is not what the job needs.
        """
        examples = [self._kept.get(index) or self._read(index) for index in chosen.tolist()]
        images, aims = (torch.stack(parts) for parts in zip(*examples, strict=True))
        return images.to(device), aims.long().to(device)

    def classes(self) -> npt.NDArray[np.int64]:
        """Number of the class of each record, shape (n,).

        Raises:
            RecordsError: where a row's is not the job's.
        """
        return np.array([int(self._number(index)) for index in range(len(self))], np.int64)

    def in_order(self, batch_size: int) -> Iterator[Indices]:
        """Indices of all records in batches."""
        return in_order(len(self), batch_size)

    def shuffled(self, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Indices in random batches without end; see `cloister.training.order.shuffled`."""
        return shuffled(np.zeros(len(self), np.int64), batch_size, seed)

    def _fill(self) -> None:
        for index in range(len(self)):
            example = self._read(index)
            self._left -= sum(part.nbytes for part in example)
            if self._left < 0:
                return
            self._kept[index] = example

    def _read(self, index: int) -> Example:
        column = self._image
        try:
            image = self._reader.image(self._view / self._images[index])
            column = self._aim
            if self._masks:
                return image, self._reader.mask(self._view / self._aims[index])
        except FormError as error:
            raise wrong_row(self._file, index, column, str(error)) from error
        return image, self._number(index)

    def _number(self, index: int) -> torch.Tensor:
        number = self._numbers.get(self._aims[index])
        if number is None:
            raise wrong_row(self._file, index, self._aim, "holds a class that is not the job's")
        return number

    def _filled(self, index: int, column: str, cell: Any) -> str:
        if not isinstance(cell, str):
            raise wrong_row(self._file, index, column, "is empty")
        return cell
