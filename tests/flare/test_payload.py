# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.flare import payload as module
from cloister.flare.payload import content_of, discard, keep, pieces_of, size_of, stamp_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "came"
    path.write_bytes(b"values")
    return path


def test_bytes_and_files_are_read_alike(file: Path) -> None:
    for payload in (b"values", file):
        assert size_of(payload) == 6
        assert content_of(payload) == b"".join(pieces_of(payload)) == b"values"


def test_a_file_is_moved_and_bytes_are_written_for_their_owner_alone(file: Path, tmp_path: Path) -> None:
    moved, written = keep(file, tmp_path / "moved"), keep(b"values", tmp_path / "written")
    assert moved.read_bytes() == written.read_bytes() == b"values"
    assert not file.exists()
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_taken_over_is_not_removed(file: Path, tmp_path: Path) -> None:
    kept = keep(file, tmp_path / "kept")
    discard(file)
    discard(b"values")
    assert kept.exists()
    discard(kept)
    assert not kept.exists()


def test_a_file_that_was_written_to_has_another_stamp_and_bytes_have_none(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART_NS", 0)
    before = stamp_of(file)
    assert stamp_of(file) == before
    file.write_bytes(b"longer ones")
    assert stamp_of(file) != before
    assert stamp_of(b"values") == stamp_of(b"others") == ()


def test_a_file_that_has_just_changed_has_no_stamp(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APART_NS", 10**18)
    assert stamp_of(file) is None
    assert stamp_of(b"values") == ()
