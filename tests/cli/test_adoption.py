# SPDX-License-Identifier: Apache-2.0
"""From an NVFlare deployment to certificates here, by the commands of docs/coming-over.md, with nobody on the telephone
for the authority's sake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Done, cloister
from tests.nvflare_project.projects import PLAIN
from tests.provisioning.nvflare_kits import nvflare_kits

pytestmark = pytest.mark.slow
PROJECT = PLAIN.replace("site-1", "St_Marys").replace("server1", "fl.example.com")


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kits as NVFlare made them for the old project."""
    return nvflare_kits(PROJECT, tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of whoever runs the authority, made by an import, and the authority's fingerprint."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "project.yml").write_text(PROJECT, encoding="utf-8")
    assert cloister("import", folder / "project.yml", "--to", folder / "federation").status == 0
    made = cloister("authority", "init", "-C", folder / "federation", "--json")
    assert made.status == 0, made.err
    return folder / "federation", str(made.value["fingerprint"])


def approve(authority: Path, request: Path, root: Path, out: Path) -> Done:
    return cloister("authority", "approve", request, "--adopted-root", root, "--out", out, "-C", authority, "--json")


@pytest.mark.parametrize(
    ("kind", "name", "kit"),
    [
        ("site", "st-marys", "St_Marys"),
        ("server", "fl-example-com", "fl.example.com"),
        ("person", "lead@nvidia.com", "lead@nvidia.com"),
    ],
)
def test_an_old_kit_is_proof_enough(
    kind: str, name: str, kit: str, kits: Path, authority: tuple[Path, str], tmp_path: Path
) -> None:
    folder, fingerprint = authority
    here, request = tmp_path / "here", tmp_path / "request.json"
    here.mkdir()
    assert cloister(kind, "init", name, "-C", here).status == 0
    asked = cloister(kind, "request", name, "--adopt", kits / kit / "startup", "--out", request, "-C", here)
    assert asked.status == 0, asked.err
    approved = approve(folder, request, kits / kit / "startup" / "rootCA.pem", tmp_path)
    assert approved.status == 0, approved.err
    assert f"proven by the old kit of `{kit}`" in approved.err
    joined = cloister(kind, "join", tmp_path / f"{name}.kit", "--fingerprint", fingerprint, "-C", here, "--json")
    assert joined.status == 0, joined.err
    assert joined.value["name"] == name


def test_an_old_kit_of_somebody_else_is_none(kits: Path, authority: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    cloister("site", "init", "site-2", "-C", tmp_path / "here")
    done = cloister(
        *("site", "request", "site-2", "--adopt", kits / "St_Marys" / "startup"),
        *("--out", tmp_path / "request.json", "-C", tmp_path / "here", "--json"),
    )
    assert (done.status, done.error["message"]) == (3, "the old kit is that of `St_Marys`, and not of `site-2`")
    assert not (tmp_path / "request.json").exists()


def test_another_old_root_is_none(kits: Path, authority: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    cloister("site", "init", "site-2", "-C", tmp_path / "here")
    request = tmp_path / "request.json"
    cloister(
        "site", "request", "site-2", "--adopt", kits / "site-2" / "startup", "--out", request, "-C", tmp_path / "here"
    )
    stranger = nvflare_kits(PLAIN, tmp_path / "stranger") / "site-2" / "startup" / "rootCA.pem"
    done = approve(authority[0], request, stranger, tmp_path)
    assert done.status == 3
    assert done.error["message"] == "the old kit's certificate was not signed by the old root that was given"
    assert not list(tmp_path.glob("*.kit"))
