# SPDX-License-Identifier: Apache-2.0
"""What a server optimiser keeps from one round to the next, block by block."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import numpy as np

from cloister.errors import JobError
from cloister.files import private_folder, write_pieces
from cloister.vectors import Vector

_CURRENT = "current"


class State(Protocol):
    """Arrays by name and block; what a round puts is there from its `commit` on, and all of it at once."""

    def get(self, name: str, block: int, size: int) -> Vector | None:
        """What the last committed round put under ``name`` for ``block``; None where no round has been committed.

        Args:
            name: of the array.
            block: its number, from 0.
            size: how many values it must have.

        Raises:
            JobError: where it has another number of values, or is missing.
        """

    def put(self, name: str, block: int, values: Vector) -> None:
        """Keep ``values`` for the next round. Each round puts every block anew."""

    def commit(self) -> None:
        """End the round: what it put replaces what the round before had put."""


class FileState:
    """A state in files; memory holds none of it.

    A round's files lie in a folder of their own, and a file with that folder's name is replaced at the end, so that a
    server that dies in between still finds the round before.

    Args:
        folder: where they lie, and nothing else; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)
        current = folder / _CURRENT
        self._generation = int(current.read_text("ascii")) if current.exists() else 0
        for left in folder.iterdir():
            if left.is_dir() and left != self._round(self._generation):
                shutil.rmtree(left)

    def get(self, name: str, block: int, size: int) -> Vector | None:
        """See `State`."""
        if not self._generation:
            return None
        path = self._round(self._generation) / _file(name, block)
        values = np.fromfile(path, np.dtype("<f4")) if path.exists() else None
        return _checked(values, name, block, size)

    def put(self, name: str, block: int, values: Vector) -> None:
        """See `State`."""
        following = private_folder(self._round(self._generation + 1))
        values.astype(np.dtype("<f4"), copy=False).tofile(following / _file(name, block))

    def commit(self) -> None:
        """See `State`."""
        before = self._round(self._generation)
        self._generation += 1
        private_folder(self._round(self._generation))
        write_pieces(self._folder / _CURRENT, [str(self._generation).encode()], durable=False)
        shutil.rmtree(before, ignore_errors=True)

    def _round(self, generation: int) -> Path:
        return self._folder / f"{generation:08d}"


def _file(name: str, block: int) -> str:
    return f"{name}-{block:08d}"


def _checked(values: Vector | None, name: str, block: int, size: int) -> Vector:
    if values is None or values.size != size:
        found = "missing" if values is None else f"{values.size} values instead of {size}"
        raise JobError(f"the server optimiser's `{name}` of block {block} is {found}")
    return values
