# SPDX-License-Identifier: Apache-2.0
"""Files of a folder, and no file outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records.images.image_folder import ImageFolder


def made(folder: Path) -> ImageFolder:
    for name in ("b.nii", "a.nii", "deep/a.nii", "deep/er/x.nii", "another/z.nii"):
        (folder / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "scans" / name).write_bytes(b"x")
    (folder / "secret.nii").write_bytes(b"x")
    return ImageFolder(folder / "scans", "scans")


def test_names_are_in_order_files_before_folders(tmp_path: Path) -> None:
    assert list(made(tmp_path).names()) == ["a.nii", "b.nii", "another/z.nii", "deep/a.nii", "deep/er/x.nii"]


def test_a_name_is_found(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert [folder.file(name).name for name in folder.names()] == ["a.nii", "b.nii", "z.nii", "a.nii", "x.nii"]
    assert folder.file("./deep//a.nii") == folder.file("deep/a.nii")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.nii",
        "deep/../../secret.nii",
        "deep/../a.nii",
        "/etc/passwd",
        "..",
        "a\n.nii",
        "a\0.nii",
        "~/x\u202e.nii",
    ],
)
def test_names_that_lead_out_are_no_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is no name of a file in `scans`") as caught:
        made(tmp_path).file(name)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "words"), [("c.nii", "does not exist"), ("", "is not a file"), ("deep", "is not a file")]
)
def test_names_of_no_file(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsError) as caught:
        made(tmp_path).file(name)
    assert caught.value.message == f"`scans/{name}` {words}"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="cannot be opened"):
        made(tmp_path).file("x" * 5000)


def test_links_are_followed_only_inside(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (tmp_path / "scans" / "inside.nii").symlink_to("deep/a.nii")
    (tmp_path / "scans" / "outside.nii").symlink_to(tmp_path / "secret.nii")
    (tmp_path / "scans" / "up").symlink_to(tmp_path)
    (tmp_path / "scans" / "loop").symlink_to("loop")
    assert folder.file("inside.nii") == (tmp_path / "scans" / "deep" / "a.nii").resolve()
    for name in ("outside.nii", "up/secret.nii"):
        with pytest.raises(RecordsError, match=f"`scans/{name}` leads out of its folder"):
            folder.file(name)
    with pytest.raises(RecordsError, match="cannot be opened"):
        folder.file("loop")
    assert len(list(folder.names())) == 5


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "there").symlink_to("scans")
    folder = ImageFolder(tmp_path / "there", "there")
    assert folder.file("a.nii").name == "a.nii"
    assert len(list(folder.names())) == 5


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = made(tmp_path)
    os.mkfifo(tmp_path / "scans" / "pipe.nii")
    with pytest.raises(RecordsError, match="is not a file"):
        folder.file("pipe.nii")
    assert "pipe.nii" not in list(folder.names())


def test_folders_inside_each_other_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "scans" / "/".join("x" * 40)).mkdir(parents=True)
    with pytest.raises(RecordsError, match="more than 32 folders"):
        list(ImageFolder(tmp_path / "scans", "scans").names())


def test_a_name_that_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (Path(os.fsdecode(bytes(tmp_path / "scans") + b"/\xff.nii"))).write_bytes(b"x")
    with pytest.raises(RecordsError, match="holds a file whose name cannot be printed"):
        list(folder.names())


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(RecordsError, match="`no` does not exist"):
        ImageFolder(tmp_path / "no", "no").require()
    with pytest.raises(RecordsError, match="is a file, not a folder"):
        ImageFolder(tmp_path / "secret.nii", "secret").require()
