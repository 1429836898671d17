# SPDX-License-Identifier: Apache-2.0
"""Springs at one of the steps by which files come to be, change their names or go; in a process that dies of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

STEPS = ("fsync", "link", "replace", "rename", "mkdir", "unlink", "rmdir", "open")


class Trap:
    """Counts every step, and springs before one of them.

    Attributes:
        at: which, from 1 on.
        spring: what happens then.
        count: how many there were.
    """

    def __init__(self, at: int, spring: Callable[[], None]) -> None:
        self.at, self.spring, self.count = at, spring, 0

    def set(self, patch: pytest.MonkeyPatch) -> None:
        for name in STEPS:
            patch.setattr(os, name, self._guarded(name, getattr(os, name)))

    def _guarded(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            if name != "open" or _writes(arguments):
                self.count += 1
                if self.count == self.at:
                    self.spring()
            return step(*arguments, **keywords)

        return guarded


def _writes(arguments: tuple[Any, ...]) -> bool:
    """Whether a call of os.open creates: reading leaves nothing half-made."""
    return len(arguments) > 1 and bool(arguments[1] & os.O_CREAT)


def sudden_death() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that is killed at ``step``; whether that step was reached.

    A failure of the work itself is a failure of the test.
    """

    def die() -> None:
        Trap(step, sudden_death).set(pytest.MonkeyPatch())
        work()

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"step {step}: the work ended with {process.exitcode}"
    return process.exitcode == -signal.SIGKILL
