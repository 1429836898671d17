# SPDX-License-Identifier: Apache-2.0
"""Passwords: where they are found, what is refused, and that none is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from cloister.errors import RecordsError
from cloister.records.sql.credentials import MAXIMUM_BYTES, read_password
from cloister.silos import PasswordPlace

SECRET = "under-the-doormat"


def in_file(folder: Path, content: bytes, mode: int = 0o600) -> SecretStr:
    (folder / "password").write_bytes(content)
    (folder / "password").chmod(mode)
    return read_password(PasswordPlace(file="password"), root=folder)


def refusal(folder: Path, content: bytes, mode: int = 0o600) -> RecordsError:
    with pytest.raises(RecordsError) as caught:
        in_file(folder, content, mode)
    everything = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert SECRET not in everything
    assert "`password`" in caught.value.message
    return caught.value


class TestFile:
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    def test_one_line_is_the_password(self, end: bytes, tmp_path: Path) -> None:
        assert in_file(tmp_path, f" {SECRET} ü".encode() + end).get_secret_value() == f" {SECRET} ü"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
    def test_one_that_others_can_read_is_refused(self, mode: int, tmp_path: Path) -> None:
        error = refusal(tmp_path, SECRET.encode(), mode)
        assert f"can be read by others (mode {mode:04o})" in error.message
        assert error.hint.startswith("chmod 600 ")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (SECRET.encode() + b"\n\n", "more than one line"),
            (SECRET.encode() + b"\nmore", "more than one line"),
            (SECRET.encode() + b"\0", "cannot be printed"),
            (SECRET.encode() + b"\xff", "is not UTF-8"),
            (SECRET.encode() * MAXIMUM_BYTES, "is longer than 4096 bytes"),
        ],
    )
    def test_what_is_no_password_is_refused(self, content: bytes, why: str, tmp_path: Path) -> None:
        assert why in refusal(tmp_path, content).message

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError) as caught:
            read_password(PasswordPlace(file="password"), root=tmp_path)
        assert caught.value.message == (
            "the file `password`, which should hold a password, cannot be read: no such file or directory"
        )

    def test_a_folder_and_a_pipe_are_no_files(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        for name in ("folder", "pipe"):
            with pytest.raises(RecordsError, match="cannot be read: "):
                read_password(PasswordPlace(file=name), root=tmp_path)

    def test_a_link_to_a_file_will_do(self, tmp_path: Path) -> None:
        in_file(tmp_path, SECRET.encode())
        (tmp_path / "link").symlink_to("password")
        assert read_password(PasswordPlace(file="link"), root=tmp_path).get_secret_value() == SECRET


class TestEnvironment:
    def test_a_variable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WARD_PASSWORD", SECRET)
        assert read_password(PasswordPlace(environment="WARD_PASSWORD"), root=tmp_path).get_secret_value() == SECRET

    def test_one_that_is_not_set_or_empty(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = PasswordPlace(environment="WARD_PASSWORD")
        monkeypatch.delenv("WARD_PASSWORD", raising=False)
        with pytest.raises(RecordsError, match=r"the environment variable `WARD_PASSWORD`, which .*, is not set"):
            read_password(place, root=tmp_path)
        monkeypatch.setenv("WARD_PASSWORD", "")
        with pytest.raises(RecordsError, match=r"the environment variable `WARD_PASSWORD`, which .*, is empty"):
            read_password(place, root=tmp_path)

    def test_one_with_bytes_that_are_no_text(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environb, b"WARD_PASSWORD", SECRET.encode() + b"\xff")  # type: ignore[attr-defined]
        with pytest.raises(RecordsError) as caught:
            read_password(PasswordPlace(environment="WARD_PASSWORD"), root=tmp_path)
        assert SECRET not in str(caught.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    secret = in_file(tmp_path, SECRET.encode())
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]), repr({"a": secret})):
        assert SECRET not in shown
