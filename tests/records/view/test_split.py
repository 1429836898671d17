# SPDX-License-Identifier: Apache-2.0
"""The site's secret, by which records are kept for validation."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records import split_key
from cloister.records.view import split
from cloister.records.view.split import held_back


def test_nobody_can_find_a_seed_that_keeps_one_known_text(tmp_path: Path) -> None:
    """Whoever tries seeds until a text hashes lowest, without the key, is no better off than by chance."""
    own, guessed = split_key(tmp_path), bytes(32)
    seeds = [seed for seed in range(20_000) if held_back(guessed, "a known note", seed, 0.05)]
    assert len(seeds) > 800
    assert sum(held_back(own, "a known note", seed, 0.05) for seed in seeds) < 0.1 * len(seeds)


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    key = split_key(tmp_path)
    path = tmp_path / "split.key"
    assert len(key) == 32
    assert split_key(tmp_path) == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_two_sites_have_two_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert split_key(tmp_path / "a") != split_key(tmp_path / "b")


def test_jobs_that_begin_at_the_same_time_get_the_same_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    begin = threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        found.append(split_key(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_that_another_process_made_meanwhile_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_once = split.write_once

    def overtaken(path: Path, content: bytes) -> None:
        write_once(path, b"o" * 32)
        write_once(path, content)

    monkeypatch.setattr(split, "write_once", overtaken)
    assert split_key(tmp_path) == b"o" * 32


@pytest.mark.parametrize("content", [b"", b"short", b"k" * 31, b"k" * 33])
def test_what_is_no_key_is_refused_and_left(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(RecordsError, match="is not a key of 32 bytes"):
        split_key(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    split_key(tmp_path)
    (tmp_path / "split.key").chmod(mode)
    with pytest.raises(RecordsError, match=f"mode {mode:04o}"):
        split_key(tmp_path)


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def link(path: Path) -> None:
    path.symlink_to("elsewhere.key")
    path.with_name("elsewhere.key").write_bytes(b"k" * 32)


def dangling_link(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize("make", [folder, pipe, link, dangling_link])
def test_what_is_no_file_is_refused_and_left(tmp_path: Path, make: object) -> None:
    path = tmp_path / "split.key"
    make(path)  # type: ignore[operator]
    kind = stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(RecordsError, match="cannot be read"):
        split_key(tmp_path)
    assert stat.S_IFMT(path.lstat().st_mode) == kind
    assert not (tmp_path / "nothing").exists()


def test_a_workspace_that_cannot_hold_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="cannot be read"):
        split_key(tmp_path / "missing")
