# SPDX-License-Identifier: Apache-2.0
"""Which processes of a federation run on this machine: each by its number and its start, as it was written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import psutil

from cloister.files import write_json


@dataclass(frozen=True)
class Running:
    """A process of the federation.

    Attributes:
        name: of the server or site.
        pid: its process number.
        started: when, in seconds since the epoch, to tell it from a later process with the same number.
    """

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int | None = None) -> Running:
        """The process ``pid``, which must run, under ``name``; this very process where no number is given."""
        process = psutil.Process(pid)
        return cls(name, process.pid, process.create_time())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ValueError, OverflowError):  # the last two: a number that no process has
            return False


def read_running(path: Path) -> list[Running]:
    """What is written down in ``path``; nothing where that is missing or damaged.

    `down` finds processes by their mark, so a damaged record costs nothing but names.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [Running(str(each["name"]), int(each["pid"]), float(each["started"])) for each in entries]
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return []


def write_running(path: Path, entries: list[Running]) -> None:
    """Write ``entries`` down in ``path``."""
    write_json(path, [vars(entry) for entry in entries])
