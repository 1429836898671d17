# SPDX-License-Identifier: Apache-2.0
"""What a process and all its descendants use up right now, and which limit that breaks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from cloister.sandbox.enclosure import Limits

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Of one tree of processes.

    Attributes:
        memory_bytes: resident memory, bytes; pages that processes share count once where the kernel tells.
        processes: processes and threads, counted together.
    """

    memory_bytes: int
    processes: int


def broken(usage: Usage, limits: Limits) -> str | None:
    """The limit that ``usage`` breaks, as the end of a sentence about the trainer."""
    if usage.memory_bytes > limits.memory_bytes:
        return f"used more than {limits.memory_bytes / 2**30:.1f} GiB memory"
    if usage.processes > limits.processes:
        return f"ran more than {limits.processes} processes and threads"
    return None


def usage_of(pid: int, *, enough_bytes: int) -> Usage:
    """What the tree of processes from ``pid`` down uses up; nothing for a process that has just ended.

    The sum of resident memory counts shared pages several times. It is cheap, so it comes first; only above
    ``enough_bytes`` is each process's proportional share asked for (proc(5), `smaps_rollup`).
    """
    pids = tree(pid)
    resident = sum(_resident_bytes(each) for each in pids)
    if resident > enough_bytes:
        resident = sum(_proportional_bytes(each) for each in pids)
    return Usage(resident, sum(len(_threads(each)) for each in pids))


def tree(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    found = [pid]
    for each in found:  # grows while it is walked
        found += _children(each)
    return found


def _children(pid: int) -> list[int]:
    try:
        # One small file per thread, where psutil would read the whole process table four times a second.
        return [int(child) for thread in _threads(pid) for child in (thread / "children").read_text().split()]
    except OSError:
        return _children_by_table(pid)


def _children_by_table(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _threads(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _resident_bytes(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # a process can make this file unreadable; then its full resident memory counts
    return _resident_bytes(pid)
