# SPDX-License-Identifier: Apache-2.0
"""Private keys are readable by others at no moment of what the command line does; and what watches them works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, passphrase
from cloister.certificates.passphrase import FILE
from tests import key_story
from tests.certificates.conftest import keys, pooled_keys, rsa_keys
from tests.key_watch import Watching, stepping
from tests.leaks import holding, in_the_clear, key_files

__all__ = ["keys", "pooled_keys", "rsa_keys"]

PROJECT = Path(__file__).parents[1]
SECRET = "a passphrase that is long enough"
KEYS_AT_LEAST = {"authority.key", "server.key", "client.key", "pending.key"}


@pytest.fixture(autouse=True)
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A umask that takes nothing away, and a folder for temporary files that is watched; nobody has a passphrase."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    passphrase.forget()
    earlier = os.umask(0)
    yield tmp_path
    os.umask(earlier)
    passphrase.forget()


def names(found: set[str]) -> set[str]:
    return {Path(each).name for each in found}


# --- what watches


def test_a_key_that_is_open_for_a_moment_is_seen_step_by_step(tmp_path: Path) -> None:
    with stepping(tmp_path) as report:
        descriptor = os.open(tmp_path / "client.key", os.O_CREAT | os.O_WRONLY, 0o644)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    assert report.exposed == {f"{tmp_path}/client.key 0644"}


def test_a_key_is_known_by_what_it_holds(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    keys[0].write(tmp_path / "innocent")
    with stepping(tmp_path) as report:
        (tmp_path / "innocent").chmod(0o640)
        (tmp_path / "innocent").chmod(0o600)
    assert report.exposed == {f"{tmp_path}/innocent 0640"}


def test_another_processs_key_is_seen(tmp_path: Path) -> None:
    script = "mkdir -p a/b && touch a/b/client.key && sleep 1 && chmod 600 a/b/client.key && mv a/b/client.key a/x.key"
    with Watching(tmp_path) as report:
        subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    assert report.exposed == {f"{tmp_path}/a/b/client.key 0666"}
    assert report.keys == {f"{tmp_path}/a/b/client.key", f"{tmp_path}/a/x.key"}


# --- what is watched


@pytest.mark.slow
@pytest.mark.usefixtures("pooled_keys")
@pytest.mark.parametrize("encrypted", [False, True])
def test_no_step_exposes_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool) -> None:
    if encrypted:
        secret = tmp_path / "passphrase"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        monkeypatch.setenv(FILE, str(secret))
    with stepping(tmp_path) as report, Watching(tmp_path) as watched:
        key_story.tell(tmp_path)
    assert report.exposed == watched.exposed == set()
    assert names(report.keys) >= KEYS_AT_LEAST
    assert names(watched.keys) >= KEYS_AT_LEAST
    assert report.looks > 1000
    opened = [path for path in tmp_path.rglob("*") if path.is_file() and b"BEGIN PRIVATE KEY" in path.read_bytes()]
    assert bool(opened) is not encrypted
    # Requests, kits, rosters, logs, units and charts: what leaves the machine, and what stays.
    secrets = {line for path in key_files(tmp_path) for line in in_the_clear(path)}
    assert len(secrets) >= 6 * 2  # of the pool
    assert holding(tmp_path, {*secrets, SECRET.encode()}) == (["passphrase"] if encrypted else [])


@pytest.mark.slow
def test_no_system_call_of_the_command_line_exposes_a_key(tmp_path: Path) -> None:
    """With which rights files are made, which inotify does not tell: strace(1) does, of every process."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    trace, root = tmp_path / "trace", tmp_path / "story"
    calls = "open,openat,?openat2,creat,mknod,mknodat,chmod,fchmod,fchmodat,?fchmodat2"
    command = [strace, "-f", "-y", "-qq", "-s", "400", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.key_story", str(root)],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr.lower() and "not permitted" in done.stderr.lower():
        pytest.skip("strace may not trace here (ptrace is forbidden)")
    assert done.returncode == 0, done.stderr[-2000:]
    made, changed = rights_in(trace.read_text(encoding="utf-8", errors="replace"))
    keys_made = {path: rights for path, rights in made if ".key" in path}
    assert len(keys_made) >= len(KEYS_AT_LEAST)
    assert [path for path, _ in changed if ".key" in path]
    assert [(path, rights) for path, rights in made if ".key" in path and int(rights, 8) & 0o077] == []
    assert [(path, rights) for path, rights in changed if ".key" in path and int(rights, 8) & 0o077] == []
    # A draft's name does not say what it will be; so nothing below the state folders is made for others at all.
    state = [(path, rights) for path, rights in (*made, *changed) if "/.cloister/" in path]
    assert [(path, rights) for path, rights in state if int(rights, 8) & 0o077] == []


def rights_in(trace: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Each file that was made, and each whose rights were changed, with the rights that were asked for."""
    made = re.findall(r'\bopen(?:at)?\((?:[^"]*)"([^"]*)", [^)]*O_CREAT[^)]*, (0\d*)\)', trace)
    changed = re.findall(r'\bf?chmod(?:at)?\((?:\d+<([^>]*)>|[^"]*"([^"]*)"), (0\d*)', trace)
    return made, [(described or named, rights) for described, named, rights in changed]
