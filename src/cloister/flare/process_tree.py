# SPDX-License-Identifier: Apache-2.0
"""Processes and what they started: found, and ended."""

from __future__ import annotations

import contextlib

import psutil

_STOP_SECONDS = 5.0


def with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of ``processes``, and of all they started, that still run."""
    found = {process.pid: process for process in processes}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    return [process for process in found.values() if process.is_running() and not _is_zombie(process)]


def _is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def end(processes: list[psutil.Process]) -> None:
    """Ask ``processes`` to end, then make them; waits for both."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_STOP_SECONDS)
