# SPDX-License-Identifier: Apache-2.0
"""Provisioning that is interrupted: a full disk or a killed process at every step leaves nothing half-made."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cloister.certificates import pem
from cloister.errors import ProvisioningError
from cloister.provisioning import inspect, provision
from cloister.roster import Federation
from tests.provisioning.world import contents, drafts, issued_count, modes, private_keys

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred


class Trap:
    """Counts every step by which a file comes to be, and springs at one of them."""

    def __init__(self, at: int, spring: Callable[[], None]) -> None:
        self.at, self.spring, self.count = at, spring, 0

    def set(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("fsync", "link", "replace", "mkdir"):
            patch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            if self.count == self.at:
                self.spring()
            return step(*arguments, **keywords)

        return guarded


def full_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sudden_death() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def assert_finishes(roster: Federation, state: Path, now: datetime) -> None:
    """Whatever there is rests on what it needs, and one more call makes it whole."""
    keys = private_keys(state) if state.exists() else {}
    for path in state.rglob("*.crt"):
        pem.read_certificate(path)
    assert all(mode & 0o077 == 0 for mode in (modes(state) if state.exists() else {}).values())
    provision(roster, state, now)
    assert keys.items() <= private_keys(state).items()
    assert [each.problems for each in inspect(state, roster, now)] == [()] * 4
    assert drafts(state) == []
    # Nobody holds a certificate that the authority has no record of.
    recorded = set(contents(state / "authority" / "issued").values())
    assert {path.read_bytes() for path in state.glob("*/**/startup/*.crt")} <= recorded


def fail_at(step: int, roster: Federation, state: Path, now: datetime) -> bool:
    """Provision into a disk that is full at ``step``; whether that step was reached."""
    trap = Trap(step, full_disk)
    with pytest.MonkeyPatch.context() as patch:
        trap.set(patch)
        try:
            provision(roster, state, now)
        except ProvisioningError as error:
            assert "cannot write" in error.message
            assert "no space left on device" in error.message
    return trap.count >= step


@pytest.mark.usefixtures("pooled_keys")
def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, roster: Federation, now: datetime) -> None:
    for step in (3, 14, 40):
        assert fail_at(step, roster, tmp_path / str(step), now)
        assert drafts(tmp_path / str(step)) == []
        assert_finishes(roster, tmp_path / str(step), now)


@pytest.mark.slow
@pytest.mark.usefixtures("pooled_keys")
def test_a_disk_full_at_any_step_leaves_nothing_half_made(tmp_path: Path, roster: Federation, now: datetime) -> None:
    step = 1
    while fail_at(step, roster, state := tmp_path / str(step), now):
        if state.exists():
            assert drafts(state) == []
        assert_finishes(roster, state, now)
        step += 1
    assert step > 50  # a key, a root and two copies of a certificate for three, and the authority: many steps


def die_at(step: int, roster: Federation, state: Path, now: datetime) -> None:
    patch = pytest.MonkeyPatch()
    Trap(step, sudden_death).set(patch)
    provision(roster, state, now)


def kill_at(step: int, roster: Federation, state: Path, now: datetime) -> bool:
    """Provision in a process that is killed at ``step``; whether that step was reached."""
    process = multiprocessing.get_context("fork").Process(target=die_at, args=(step, roster, state, now))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.usefixtures("pooled_keys")
def test_a_killed_process_leaves_nothing_half_made(tmp_path: Path, roster: Federation, now: datetime) -> None:
    for step in (9, 25):
        assert kill_at(step, roster, tmp_path / str(step), now)
        assert_finishes(roster, tmp_path / str(step), now)


@pytest.mark.slow
@pytest.mark.usefixtures("pooled_keys")
def test_a_process_killed_at_any_step_leaves_nothing_half_made(
    tmp_path: Path, roster: Federation, now: datetime
) -> None:
    step = 1
    while kill_at(step, roster, tmp_path / str(step), now):
        assert_finishes(roster, tmp_path / str(step), now)
        step += 1
    assert step > 50


@pytest.mark.usefixtures("pooled_keys")
def test_two_at_once_make_one_federation(tmp_path: Path, roster: Federation, now: datetime) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=provision, args=(roster, tmp_path / "state", now)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert issued_count(tmp_path / "state") == 3
    assert [each.problems for each in inspect(tmp_path / "state", roster, now)] == [()] * 4
