# SPDX-License-Identifier: Apache-2.0
"""Key and certificate are replaced together: the old pair or the new one, whatever happens in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError
from cloister.files import write_atomically
from cloister.provisioning import replacement
from cloister.provisioning.replacement import FOLDER, settle
from tests.provisioning.world import contents, drafts, modes

OLD = {"client.key": b"old key", "client.crt": b"old certificate", "rootCA.pem": b"root"}
NEW = {"client.key": b"new key", "client.crt": b"new certificate"}


def replace_files(workspace: Path, files: Mapping[str, bytes]) -> None:
    """Replace them as a renewal does, under the lock of the folder."""
    with exclusively(workspace / FOLDER):
        replacement.replace_files(workspace, files)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    startup = tmp_path / "site" / "startup"
    startup.mkdir(parents=True)
    for name, content in OLD.items():
        (startup / name).write_bytes(content)
    return tmp_path / "site"


def startup(workspace: Path) -> dict[str, bytes]:
    return contents(workspace / "startup")


def write_failing(patch: pytest.MonkeyPatch, folder: str, name: str) -> None:
    """A disk that is full when ``name`` is written in ``folder``."""

    def write(path: Path, content: bytes) -> None:
        if path.name == name and folder in str(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_atomically(path, content)

    patch.setattr(replacement, "write_atomically", write)


def test_all_of_them_are_replaced_and_nothing_else(workspace: Path) -> None:
    replace_files(workspace, NEW)
    assert startup(workspace) == OLD | NEW
    assert contents(workspace / FOLDER) == {".lock": b""}
    assert set(modes(workspace / FOLDER).values()) == {0o700, 0o600}
    assert modes(workspace / "startup")["client.key"] == 0o600


def test_where_nothing_was_begun_there_is_nothing_to_settle(workspace: Path) -> None:
    assert not settle(workspace)
    assert not (workspace / FOLDER).exists()
    replace_files(workspace, NEW)
    assert not settle(workspace)


@pytest.mark.parametrize("name", sorted(NEW))
def test_before_the_new_ones_are_whole_the_old_ones_stay(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ProvisioningError, match="no space left on device"):
        write_failing(patch, FOLDER, name)
        replace_files(workspace, NEW)
    assert startup(workspace) == OLD
    settle(workspace)
    assert startup(workspace) == OLD
    replace_files(workspace, NEW)
    assert startup(workspace) == OLD | NEW
    assert drafts(workspace) == []


@pytest.mark.parametrize("name", sorted(NEW))
def test_what_was_begun_is_finished_by_whoever_comes_next(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ProvisioningError, match="no space left on device"):
        write_failing(patch, "startup", name)
        replace_files(workspace, NEW)
    assert settle(workspace)
    assert startup(workspace) == OLD | NEW
    assert not settle(workspace)
    assert drafts(workspace) == []


def test_a_replacement_that_was_begun_is_finished_before_the_next(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ProvisioningError):
        write_failing(patch, "startup", "client.key")
        replace_files(workspace, NEW)
    replace_files(workspace, {"client.crt": b"a third one for the new key"})
    assert startup(workspace) == OLD | NEW | {"client.crt": b"a third one for the new key"}


def test_what_a_renewal_does_not_write_is_not_copied(workspace: Path, tmp_path: Path) -> None:
    ready = workspace / FOLDER / "ready"
    ready.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"somebody's")
    (ready / "client.key").symlink_to(tmp_path / "secret")
    with pytest.raises(ProvisioningError, match="is not a file that a renewal writes"):
        settle(workspace)
    assert startup(workspace) == OLD
