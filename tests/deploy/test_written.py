# SPDX-License-Identifier: Apache-2.0
"""Nothing that somebody edited is written over."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cloister.deploy.written import SUMS, write_files
from cloister.errors import UsageError

FILES = {"a": "one\n", "templates/b": "two\n"}


def test_files_are_written_for_their_owner(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_files(out, FILES).made == ("a", "templates/b")
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {*FILES, SUMS}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [out, *out.rglob("*")])


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_files(tmp_path, FILES)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_the_sums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, check=True, capture_output=True)


def test_what_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    before = (tmp_path / "a").stat().st_ino
    written = write_files(tmp_path, FILES | {"templates/b": "changed\n"})
    assert (written.made, written.kept) == (("templates/b",), ("a",))
    assert (tmp_path / "a").stat().st_ino == before
    assert (tmp_path / "templates/b").read_text() == "changed\n"


@pytest.mark.parametrize("name", list(FILES))
def test_an_edited_file_stops_everything(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / name).write_text("by hand\n")
    new = {key: text + "more\n" for key, text in FILES.items()}
    with pytest.raises(UsageError, match=f"`.*{name}` was written or changed by somebody else"):
        write_files(tmp_path, new)
    assert (tmp_path / name).read_text() == "by hand\n"
    others = {key: (tmp_path / key).read_text() for key in FILES if key != name}
    assert others == {key: text for key, text in FILES.items() if key != name}
    assert write_files(tmp_path, new, force=True).made == tuple(FILES)


def test_a_file_that_was_never_ours_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine\n")
    with pytest.raises(UsageError, match="somebody else"):
        write_files(tmp_path, FILES)
    assert not (tmp_path / "templates").exists()


def test_without_the_sums_a_file_counts_as_edited(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / SUMS).write_bytes(b"\xff not a list\n")
    with pytest.raises(UsageError, match="somebody else"):
        write_files(tmp_path, {"a": "other\n"})


def test_two_services_share_a_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "one\n"})
    write_files(tmp_path, {"b": "two\n"})
    assert write_files(tmp_path, {"a": "changed\n"}).made == ("a",)


def test_a_link_is_replaced_and_what_it_points_at_is_not(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to(victim)
    with pytest.raises(UsageError):
        write_files(out, FILES)
    write_files(out, FILES, force=True)
    assert victim.read_text() == "precious\n"
