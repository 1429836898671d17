# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.sandbox import Enclosure, SandboxMode, command, missing


def try_anew() -> str | None:
    return missing.__wrapped__()


def program(folder: Path, script: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install the system package `bubblewrap`" in str(try_anew())


def test_says_that_it_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "echo 'bwrap: Unknown option --disable-userns' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install bubblewrap 0.8 or newer" in str(try_anew())


def test_repeats_what_bubblewrap_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = str(try_anew())
    assert "setting up uid map: Permission denied" in sentence
    assert "\n" not in sentence


@pytest.mark.usefixtures("bubblewrap")
def test_works_here() -> None:
    assert try_anew() is None


def test_without_a_sandbox_the_limits_remain(enclosure: Enclosure) -> None:
    argv = command(enclosure, SandboxMode.UNSAFE_NONE, ["/usr/bin/true"])
    assert "bwrap" not in argv[0]
    assert argv[-2:] == ["--", "/usr/bin/true"]
