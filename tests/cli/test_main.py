# SPDX-License-Identifier: Apache-2.0
"""What ends a command from outside, and what no command foresees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloister.cli import check
from tests.cli.commands import cloister
from tests.federation_folder import make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


def test_no_command_waits_for_a_library_that_only_some_need() -> None:
    """Each of them takes a quarter of a second to a whole one to load."""
    slow = ("presidio_analyzer", "spacy", "torch", "fhir.resources")
    code = f"import sys, cloister.cli.main; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_stopped_command_says_so_and_gives_one_json_value(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}

    def stopped(_folder: Path) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)  # another thread may be the one that the system hands the signal to

    monkeypatch.setattr(check, "repository", stopped)
    try:
        done = cloister("check", "-C", root, "--json")
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert (done.status, done.error["exit_status"]) == (130, 130)
    assert done.err == "cloister: interrupted\n"


def test_a_disk_that_refuses_is_told_in_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_folder: Path) -> None:
        raise OSError(28, "No space left on device", "/var/lib/x")

    monkeypatch.setattr(check, "repository", full)
    done = cloister("check", "-C", root, "--json")
    assert done.status == 1
    assert done.error["message"] == "cannot read or write `/var/lib/x`: no space left on device"
