# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cloister import file_lock
from cloister.file_lock import lock, locked

HOLD = """
import sys, time
from pathlib import Path
from cloister.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_holder_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="another process holds it"), locked(path, 0.1):
            pytest.fail("two hold it")
        assert 0.1 <= time.monotonic() - begun < 5
    with locked(path, 0):
        pass


def test_it_is_taken_as_soon_as_it_is_free(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def second() -> None:
        with locked(path):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_it_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError), locked(path, 0):
            pytest.fail("two hold it")
        holder.kill()
    with locked(path, 0):
        pass


def test_waiting_does_not_keep_a_core_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    sleep, here = time.sleep, threading.get_ident()

    def nap(seconds: float) -> None:
        if threading.get_ident() == here:  # another test's thread may not have ended
            tries.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(file_lock.time, "sleep", nap)
    with locked(tmp_path / "lock"), pytest.raises(TimeoutError), locked(tmp_path / "lock", 0.2):
        pytest.fail("two hold it")
    assert min(tries) >= 0.02
    assert len(tries) <= 11


def test_readers_share_it_and_a_writer_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with path.open("rb") as one, path.open("rb") as two, path.open("rb") as three:
        lock(one.fileno(), 0, shared=True)
        lock(two.fileno(), 0, shared=True)
        with pytest.raises(TimeoutError):
            lock(three.fileno(), 0)


def test_the_file_is_the_owners_alone_and_a_link_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"), locked(tmp_path / "link"):
        pytest.fail("a link was followed")
    assert not (tmp_path / "elsewhere").exists()


def test_what_fails_inside_lets_the_lock_go(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), locked(tmp_path / "lock"):
        raise OSError(28, "full", os.fspath(tmp_path))
    with locked(tmp_path / "lock", 0):
        pass
