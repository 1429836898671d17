# SPDX-License-Identifier: Apache-2.0
"""A site's job process starts where the site's kit is whole, and nowhere else."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from cloister.flare import site_process
from cloister.flare.state import State
from tests.flare.signed_jobs import SITE, provisioned


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return State(provisioned(tmp_path)).site(SITE)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules of NVFlare's that were begun."""
    begun: list[str] = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_named: begun.append(name))
    monkeypatch.setattr(site_process, "trust_as_site", lambda *_given: begun.append("restricted"))
    monkeypatch.setattr("sys.argv", ["-"])
    return begun


def test_it_restricts_its_traffic_and_becomes_nvflares(workspace: Path, begun: list[str]) -> None:
    assert site_process.main(["-c", SITE, "-m", str(workspace)]) == 0
    assert begun == ["restricted", site_process.NVFLARE_MODULE]


@pytest.mark.parametrize("name", ["privacy.json", "authorization.json", "resources.json", "cloister.json"])
@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_it_does_not_start_where_the_kit_is_damaged(
    workspace: Path, begun: list[str], capsys: pytest.CaptureFixture[str], name: str, damage: bytes | None
) -> None:
    path = workspace / "local" / name
    path.unlink() if damage is None else path.write_bytes(damage)
    assert site_process.main(["-c", SITE, "-m", str(workspace)]) != 0
    assert begun == []
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "place", ["local/evil__j_resources.json", "startup/evil__j_resources.json", "local/custom/x.py"]
)
def test_it_does_not_start_beside_a_further_file(workspace: Path, begun: list[str], place: str) -> None:
    (workspace / place).parent.mkdir(exist_ok=True)
    (workspace / place).write_text("{}")
    assert site_process.main(["-c", SITE, "-m", str(workspace)]) != 0
    assert begun == []
