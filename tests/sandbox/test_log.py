# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.sandbox.log import MAXIMUM_BYTES, NOTES_BYTES, Log


def pumped(log: Log, content: bytes) -> None:
    reading, writing = os.pipe()
    log.pump(os.fdopen(reading, "rb", buffering=0))
    with os.fdopen(writing, "wb") as stream:
        stream.write(content)


def eventually_holds(path: Path, content: bytes) -> bool:
    deadline = time.monotonic() + 5
    while path.read_bytes() != content and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.read_bytes() == content


def test_appends_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    path.chmod(0o644)
    pumped(Log(path), b"after\n")
    assert eventually_holds(path, b"before\nafter\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_stops_growing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin = b"x" * (MAXIMUM_BYTES - NOTES_BYTES - 3)
    path.write_bytes(begin)
    log = Log(path)
    pumped(log, b"abcdef")
    assert eventually_holds(path, begin + b"abc")
    for _ in range(NOTES_BYTES):
        log.note("more")
    assert path.stat().st_size == MAXIMUM_BYTES


def test_a_trainer_that_prints_without_end_does_not_hide_why_it_was_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (MAXIMUM_BYTES - NOTES_BYTES))
    log = Log(path)
    log.note("the trainer failed: " + "x" * MAXIMUM_BYTES)
    pumped(log, b"y" * NOTES_BYTES)
    log.note("used more than 1.0 GiB memory")
    assert path.read_bytes().endswith(b"x\n[sandbox] used more than 1.0 GiB memory\n")


def test_carries_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "log"
    pumped(Log(path), b"\x1b[2Jred\x07\tgr\xc3\xbcn\n")
    assert eventually_holds(path, b"?[2Jred?\tgr\xc3\xbcn\n")


def test_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "log").symlink_to("elsewhere")
    with pytest.raises(SandboxError, match="cannot be written"):
        Log(tmp_path / "log")
