# SPDX-License-Identifier: Apache-2.0
"""Is there room for views, results and logs, and as much memory as the silo document promises?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.silos.model import Capacity

_GIB = 2**30
_LEAST_BYTES = _GIB
_LEAST_FILES = 1_000
_FEW_BYTES = 10 * _GIB
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60
_DISK_HINT = "make room on that disk: a job writes its view and its results there, and a full disk stops the audit log"


@dataclass(frozen=True)
class Disk:
    """A file system.

    Attributes:
        path: a folder on it.
        free_bytes: what a user who is not root may still write.
        free_files: how many files may still be made; None where the file system does not count them.
    """

    path: Path
    free_bytes: int
    free_files: int | None


@dataclass(frozen=True)
class Memory:
    """This machine's memory and processors.

    Attributes:
        total_bytes: all that processes here may use, with the limit of their control group.
        available_bytes: what is free of it now.
        processors: how many there are.
    """

    total_bytes: int
    available_bytes: int
    processors: int


def disk_of(path: Path, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> Disk:
    """The file system that ``path`` lies on."""
    found = statvfs(path)
    return Disk(path, found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def judge_disk(disk: Disk) -> Finding:
    """Whether there is room (pure)."""
    room = f"{disk.free_bytes / _GIB:.1f} GiB are free where `{disk.path}` lies"
    if disk.free_files is not None and disk.free_files < _LEAST_FILES:
        return Finding("D1001", f"only {disk.free_files} more files can be made where `{disk.path}` lies", _DISK_HINT)
    if disk.free_bytes < _LEAST_BYTES:
        return Finding("D1001", f"only {room}", _DISK_HINT)
    if disk.free_bytes < _FEW_BYTES:
        return Finding("D1002", f"only {room}", _DISK_HINT)
    return in_order(Topic.CAPACITY, room)


def ask_memory(cgroup: Path = _CGROUP) -> Memory:
    """What this process, and what it starts, may use."""
    memory, total = psutil.virtual_memory(), psutil.virtual_memory().total
    limit = _limit(cgroup / "memory.max")
    available = memory.available
    if limit < total:  # a container's or a service's own limit
        total, available = limit, min(available, max(0, limit - _limit(cgroup / "memory.current", 0)))
    return Memory(total, available, len(os.sched_getaffinity(0)))


def _limit(path: Path, otherwise: int = _UNLIMITED) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such control group, or `max`
        return otherwise


def judge_memory(memory: Memory, capacity: Capacity) -> Iterator[Finding]:
    """Whether this machine has what the silo document promises to each job (pure)."""
    promised = capacity.memory_gib * _GIB
    place = "`capacity` in the silo document"
    found: list[Finding] = []
    if memory.total_bytes < promised:
        message = f"the machine has {memory.total_bytes / _GIB:.1f} GiB of memory, and {place} promises"
        hint = "lower `capacity.memory_gib`, or give the machine more: a job that takes it is killed by the kernel"
        found.append(Finding("D1003", f"{message} {capacity.memory_gib:g} GiB to a job", hint))
    elif memory.available_bytes < promised:
        message = f"{memory.available_bytes / _GIB:.1f} GiB of memory are free now, and {place} promises"
        hint = "see what takes it; a job that is not running yet may not find enough"
        found.append(Finding("D1007", f"{message} {capacity.memory_gib:g} GiB to a job", hint))
    if memory.processors < capacity.threads:
        message = f"the machine has {memory.processors} processors, and {place} promises {capacity.threads} threads"
        found.append(Finding("D1004", message, "lower `capacity.threads`: more threads than processors are slower"))
    words = f"{memory.total_bytes / _GIB:.1f} GiB of memory and {memory.processors} processors"
    yield from found or [in_order(Topic.CAPACITY, f"{words}, as {place} promises")]
