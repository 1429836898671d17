# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from cloister.flare import export as kits
from cloister.nvflare_project.plain import LOST
from tests.cli.commands import cloister
from tests.federation_folder import OFFICER, PERSON, SITES, make_federation
from tests.key_pool import different_keys

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_federation(tmp_path_factory.mktemp("federation"))
    keys = itertools.cycle(different_keys())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(keys)))
        assert cloister("provision", "-C", folder).status == 0
    return folder


def test_project_and_kits_are_written_and_the_loss_is_said(root: Path, tmp_path: Path) -> None:
    done = cloister("export", "--to", tmp_path / "plain", "-C", root, "--json")
    assert done.status == 0
    assert set(done.value["kits"]) == {"coordinator", *SITES, PERSON, OFFICER}
    assert done.value["without_kit"] == []
    assert done.value["lost"] == list(LOST)
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {"project.yml", "EXPORTED.md", "kits"}
    page = (tmp_path / "plain" / "EXPORTED.md").read_text(encoding="utf-8")
    assert all(sentence in page for sentence in LOST)
    assert [path for path in (tmp_path / "plain").rglob("*") if path.stat().st_mode & 0o077] == []


def test_people_are_told_who_has_no_kit(tmp_path: Path) -> None:
    elsewhere = make_federation(tmp_path / "federation")
    done = cloister("export", "--to", tmp_path / "plain", "-C", elsewhere)
    assert "0 kits" in done.out
    assert "no kit for alpha, who has no key on this machine" in done.out
    assert (tmp_path / "plain" / "project.yml").exists()


def test_a_folder_that_holds_something_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "mine").write_text("mine")
    done = cloister("export", "--to", tmp_path / "plain", "-C", root, "--json")
    assert (done.status, done.error["message"]) == (2, f"`{tmp_path / 'plain'}` is there already, and is not replaced")
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["mine"]


def test_what_fails_on_the_way_leaves_no_key_behind(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kits, "_grant", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cloister("export", "--to", tmp_path / "plain", "-C", root)
    assert list(tmp_path.iterdir()) == []
