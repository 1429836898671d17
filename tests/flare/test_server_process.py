# SPDX-License-Identifier: Apache-2.0
"""The server's job process starts where the server's kit is whole, and nowhere else."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from nvflare.apis.job_launcher_spec import JobProcessArgs

from cloister.flare import launcher, server_process
from cloister.flare.kit import server_files, write_kit
from cloister.flare.state import State
from cloister.repository import load_repository
from cloister.trust import roster_file
from tests.flare.signed_jobs import provisioned

PORT = "8002"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = provisioned(tmp_path)
    workspace = State(root).server
    write_kit(workspace, server_files(load_repository(root).federation.value, workspace, int(PORT)))
    return workspace


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules of NVFlare's that were begun."""
    begun: list[str] = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_named: begun.append(name))
    monkeypatch.setattr("sys.argv", ["-"])
    return begun


def start(workspace: Path, port: str = PORT) -> int:
    return server_process.main(["-m", str(workspace), "-s", "fed_server.json", "--port", port])


def test_it_becomes_nvflares(workspace: Path, begun: list[str]) -> None:
    assert start(workspace) == 0
    assert begun == [server_process.NVFLARE_MODULE]


@pytest.mark.parametrize("name", ["local/authorization.json", "local/resources.json", "startup/fed_server.json"])
@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_it_does_not_start_where_the_kit_is_damaged(
    workspace: Path, begun: list[str], capsys: pytest.CaptureFixture[str], name: str, damage: bytes | None
) -> None:
    path = workspace / name
    path.unlink() if damage is None else path.write_bytes(damage)
    assert start(workspace) != 0
    assert begun == []
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "place", ["local/evil__j_resources.json", "startup/evil__j_resources.json", "local/custom/x.py"]
)
def test_it_does_not_start_beside_a_further_file(workspace: Path, begun: list[str], place: str) -> None:
    (workspace / place).parent.mkdir(exist_ok=True)
    (workspace / place).write_text("{}")
    assert start(workspace) != 0
    assert begun == []


def test_it_does_not_start_without_a_roster_or_at_another_port(workspace: Path, begun: list[str]) -> None:
    assert start(workspace, "8003") != 0
    assert start(workspace, "x") != 0
    assert server_process.main(["-m", str(workspace)]) != 0
    roster_file(workspace).unlink()
    assert start(workspace) != 0
    assert begun == []


def test_the_launcher_starts_ours_in_the_place_of_nvflares() -> None:
    assert launcher._INSTEAD[server_process.NVFLARE_MODULE] == "cloister.flare.server_process"
    assert JobProcessArgs.EXE_MODULE in launcher.ServerLauncher().arguments()
