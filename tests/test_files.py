# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.files import (
    canonical_json,
    json_text,
    private_folder,
    sha256_of,
    sha256_of_file,
    write_atomically,
    write_once,
    write_pieces,
)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_private_folder_and_its_new_parents_are_the_owners_alone(tmp_path: Path) -> None:
    previous = os.umask(0o000)
    try:
        folder = private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(previous)
    assert _mode(folder) == _mode(folder.parent) == 0o700


def test_an_open_folder_is_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert _mode(private_folder(folder)) == 0o700


def test_content_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert _mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert target.read_bytes() == b"precious"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def test_what_fails_half_way_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False])
def test_what_is_written_over_a_file_takes_its_place_on_the_disk(tmp_path: Path, there: bool) -> None:
    path, spare = tmp_path / "weights", tmp_path / "spare"
    spare.write_bytes(b"of an earlier round, and longer")
    spare.chmod(0o644)
    if there:
        path.write_bytes(b"of the round before")
    place, modes = spare.stat().st_ino, []

    def pieces() -> Iterator[bytes]:
        for piece in (b"ne", b"w"):
            modes.append(_mode(spare))
            yield piece

    write_pieces(path, pieces(), over=spare)
    assert modes == [0o600, 0o600], "nobody else reads what is new, while it is written either"
    assert (path.read_bytes(), path.stat().st_ino, _mode(path)) == (b"new", place, 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "answer"
    for content in (b"first and longer", b"second", b""):
        write_pieces(path, [content], durable=False, over=path)
        assert (path.read_bytes(), _mode(path), list(tmp_path.iterdir())) == (content, 0o600, [path])


def test_what_has_another_name_is_not_written_over(tmp_path: Path) -> None:
    path, spare, best = tmp_path / "weights", tmp_path / "spare", tmp_path / "best"
    best.write_bytes(b"the best")
    os.link(best, spare)
    write_pieces(path, [b"new"], over=spare)
    assert (path.read_bytes(), best.read_bytes(), spare.exists()) == (b"new", b"the best", False)


@pytest.mark.parametrize("to", ["target", "nothing"])
def test_what_a_symbolic_link_points_to_is_not_written_over(tmp_path: Path, to: str) -> None:
    path, spare, target = tmp_path / "weights", tmp_path / "spare", tmp_path / "target"
    target.write_bytes(b"precious")
    spare.symlink_to(tmp_path / to)
    write_pieces(path, [b"new"], over=spare)
    assert (path.read_bytes(), path.is_symlink(), target.read_bytes()) == (b"new", False, b"precious")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["target", "weights"]


def test_a_pipe_is_not_written_over(tmp_path: Path) -> None:
    path, spare = tmp_path / "weights", tmp_path / "spare"
    os.mkfifo(spare)
    write_pieces(path, [b"new"], over=spare)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"new", [path])


def test_pieces_that_fail_half_way_leave_the_old_file_and_nothing_of_the_spare(tmp_path: Path) -> None:
    path, spare = tmp_path / "weights", tmp_path / "spare"
    path.write_bytes(b"old")
    spare.write_bytes(b"of an earlier round")

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        write_pieces(path, pieces(), over=spare)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_a_file_that_is_written_once_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_once(path, b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_json_text_is_sorted_and_ends_with_a_newline() -> None:
    assert json_text({"b": 1, "a": 2}) == b'{\n  "a": 2,\n  "b": 1\n}\n'


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_digests_of_bytes_and_of_files_are_the_same(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "content"
    path.write_bytes(content)
    assert sha256_of(content) == sha256_of_file(path) == hashlib.sha256(content).hexdigest()
