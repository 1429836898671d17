# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.sandbox import Enclosure
from cloister.sandbox import mounts as module
from cloister.sandbox.mounts import BASE_MODEL_FILES, Kind, Mount, mounts


def places(found: list[Mount]) -> dict[str, Mount]:
    return {str(mount.place): mount for mount in found}


def test_base_model_files_are_data() -> None:
    assert not [name for name in BASE_MODEL_FILES if name.endswith((".py", ".bin", ".pt", ".pkl"))]


def test_shows_the_view_alone_of_a_protected_folder(enclosure: Enclosure) -> None:
    found = mounts(enclosure)
    assert places(found)["/view"] == Mount(Kind.SHOW, str(enclosure.view.resolve()), Path("/view"))
    assert not [mount for mount in found if mount.kind in (Kind.COVER_FILE, Kind.COVER_FOLDER)]


def test_covers_what_a_view_says_of_the_rows_that_are_not_in_it(enclosure: Enclosure) -> None:
    (enclosure.view / "manifest.json").write_text("{}")
    assert places(mounts(enclosure))["/view/manifest.json"] == Mount(Kind.COVER_FILE, "", Path("/view/manifest.json"))


def test_shallow_mounts_come_first(enclosure: Enclosure) -> None:
    depths = [len(mount.place.parts) for mount in mounts(enclosure)]
    assert depths == sorted(depths)


def test_shows_what_lies_in_a_protected_folder_in_a_shown_one(
    enclosure: Enclosure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # /opt/python (shown) > federation (protected) > .venv (shown)
    python = tmp_path / "python"
    federation = python / "federation"
    (federation / ".venv").mkdir(parents=True)
    monkeypatch.setattr(module, "runtime", lambda: (python, federation / ".venv"))
    found = mounts(replace(enclosure, protected=(federation,)))
    order = [(mount.kind, mount.place) for mount in found if mount.place.is_relative_to(python.resolve())]
    assert order == [
        (Kind.SHOW, python.resolve()),
        (Kind.COVER_FOLDER, federation.resolve()),
        (Kind.SHOW, (federation / ".venv").resolve()),
    ]


def test_covers_a_protected_folder_that_is_reached_through_a_link(enclosure: Enclosure, tmp_path: Path) -> None:
    secret = enclosure.view / "secret"
    secret.mkdir()
    (tmp_path / "alias").symlink_to(enclosure.view.parent)
    found = mounts(replace(enclosure, protected=(tmp_path / "alias" / "view" / "secret",)))
    assert places(found)["/view/secret"].kind is Kind.COVER_FOLDER


def test_shows_a_linked_runtime_under_both_names(
    enclosure: Enclosure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    monkeypatch.setattr(module, "runtime", lambda: (tmp_path / "alias",))
    found = places(mounts(enclosure))
    assert found[str(tmp_path / "alias")].source == found[str((tmp_path / "real").resolve())].source


def test_refuses_a_protected_path_that_may_yet_appear_inside(enclosure: Enclosure) -> None:
    with pytest.raises(SandboxError, match="does not exist yet"):
        mounts(replace(enclosure, protected=(enclosure.view / "later",)))


def test_refuses_to_protect_what_is_shown(enclosure: Enclosure) -> None:
    with pytest.raises(SandboxError, match="needs it"):
        mounts(replace(enclosure, protected=(Path(sys.prefix),)))


def test_shows_of_a_bundle_its_configuration_and_safetensors_alone(enclosure: Enclosure, tmp_path: Path) -> None:
    bundle = tmp_path / "models" / "bundle"
    names = ["configs/inference.json", "configs/train.json", "configs/metadata.json", "configs/logging.conf"]
    names += ["models/model.safetensors", "models/model.pt", "models/model.ts", "scripts/net.py", "docs/README.md"]
    for name in names:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(b"data")
    found = [
        str(mount.place) for mount in mounts(replace(enclosure, base_model=bundle)) if "/base-model" in str(mount.place)
    ]
    assert sorted(found) == [
        "/base-model/configs/inference.json",
        "/base-model/configs/metadata.json",
        "/base-model/configs/train.json",
        "/base-model/models/model.safetensors",
    ]


def test_refuses_a_bundle_that_links_to_a_key(enclosure: Enclosure, tmp_path: Path) -> None:
    bundle = tmp_path / "models" / "bundle"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "inference.json").symlink_to(tmp_path / "state" / "client.key")
    with pytest.raises(SandboxError, match="link into a protected folder"):
        mounts(replace(enclosure, base_model=bundle))


def test_shows_no_view_where_there_is_none(enclosure: Enclosure) -> None:
    found = mounts(replace(enclosure, view=None))
    assert not [mount for mount in found if mount.place.is_relative_to("/view")]
    assert "/base-model/config.json" in places(found)


def test_refuses_a_base_model_that_links_to_a_key(enclosure: Enclosure) -> None:
    (enclosure.base_model / "vocab.txt").symlink_to(enclosure.protected[0] / "client.key")
    with pytest.raises(SandboxError, match="link into a protected folder"):
        mounts(enclosure)


def test_shows_a_base_model_made_of_links(enclosure: Enclosure, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"vocabulary")
    (enclosure.base_model / "vocab.txt").symlink_to(tmp_path / "blob")
    assert places(mounts(enclosure))["/base-model/vocab.txt"].source == str((tmp_path / "blob").resolve())


def test_refuses_a_runtime_that_is_the_whole_file_system(enclosure: Enclosure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "runtime", lambda: (Path("/"),))
    with pytest.raises(SandboxError, match="whole file system"):
        mounts(enclosure)


@pytest.mark.parametrize("missing", ["view", "base_model"])
def test_refuses_folders_that_are_not_there(enclosure: Enclosure, tmp_path: Path, missing: str) -> None:
    with pytest.raises(SandboxError, match="no"):
        mounts(replace(enclosure, **{missing: tmp_path / "nowhere"}))
