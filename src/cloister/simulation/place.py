# SPDX-License-Identifier: Apache-2.0
"""Where a simulation works, and where its result is put."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cloister.file_lock import lock, locked
from cloister.files import private_folder, write_json
from cloister.flare.result import RESULT_FILE, check_place, read_result, take_over, trains_nothing

_WORK, _LOCK = ".work-", "lock"


def reserved_place(simulations: Path, job: str) -> Path:
    """A new, empty folder for the next result of ``job``, `<job>-<number>` in the folder ``simulations``."""
    private_folder(simulations)
    number = 1
    while True:
        place = simulations / f"{job}-{number}"
        try:
            place.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return place


@contextmanager
def working_folder(simulations: Path) -> Iterator[Path]:
    """A private folder in ``simulations`` that is gone afterwards; what killed simulations left is removed first."""
    private_folder(simulations)
    for left in simulations.glob(f"{_WORK}*"):
        with suppress(OSError):  # another simulation works there, or is just beginning
            descriptor = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                lock(descriptor, 0)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)
    folder = Path(tempfile.mkdtemp(prefix=_WORK, dir=simulations))
    try:
        with locked(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_result(found: Path, place: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Put a simulation's result where a person looks for it; an earlier one there is replaced.

    Args:
        found: what the rounds wrote.
        place: where to.
        told: what is said of the simulation, under `simulation` in `result.json`.

    Returns:
        The content of `result.json`.

    Raises:
        CloisterError: where there is no result, or something else than one lies in ``place``.
    """
    check_place(place)
    result = read_result(found / RESULT_FILE) | {"simulation": dict(told)}
    if not place.parent.exists():  # one that is there is somebody else's to open or close
        private_folder(place.parent)
    with tempfile.TemporaryDirectory(prefix=".simulated-", dir=place.parent) as name:
        staged = Path(name) / "staged"
        take_over(found, staged, None if trains_nothing(result) else str(result["adapter_sha256"]))
        write_json(staged / RESULT_FILE, result)
        if place.exists():
            place.replace(Path(name) / "earlier")
        staged.replace(place)
    return result
