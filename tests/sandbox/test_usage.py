# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from cloister.sandbox.enclosure import Limits
from cloister.sandbox.usage import Usage, broken, tree, usage_of

LIMITS = Limits(memory_bytes=2**30, processes=8, threads=1)


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (Usage(2**30, 8), None),
        (Usage(2**30 + 1, 8), "used more than 1.0 GiB memory"),
        (Usage(0, 9), "ran more than 8 processes and threads"),
    ],
)
def test_names_the_limit_that_is_broken(usage: Usage, reason: str | None) -> None:
    assert broken(usage, LIMITS) == reason


def test_counts_grandchildren_and_threads() -> None:
    code = (
        "import subprocess, sys, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "child = subprocess.Popen(['sleep', '60'])\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            pids = tree(process.pid)
            assert len(pids) == 2
            assert usage_of(process.pid, enough_bytes=2**40).processes == 3
        finally:
            for pid in reversed(pids):
                os.kill(pid, 9)


def test_finds_children_of_every_thread() -> None:
    found: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: found.append(subprocess.Popen(["sleep", "60"])))
    thread.start()
    thread.join()
    try:
        assert found[0].pid in tree(os.getpid())
    finally:
        found[0].kill()
        found[0].wait()


def test_measures_memory_and_counts_shared_pages_once() -> None:
    code = (
        "import os, time\nheld = b'x' * 100_000_000\n"
        "children = [os.fork() for _ in range(1)]\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.readline()
            pids = tree(process.pid)
            summed = usage_of(process.pid, enough_bytes=2**40).memory_bytes
            shared = usage_of(process.pid, enough_bytes=0).memory_bytes
            assert summed > 200_000_000
            assert 100_000_000 < shared < 150_000_000
        finally:
            for pid in reversed(pids):
                os.kill(pid, 9)


def test_a_process_that_is_gone_uses_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert usage_of(process.pid, enough_bytes=0) == Usage(0, 0)
