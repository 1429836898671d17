# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import FederationError, ProvisioningError
from cloister.flare.state import SiteSettings, State


def test_everything_lies_in_one_private_folder(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.make()
    for path in (
        state.server,
        state.site("alpha"),
        state.person("ada@x"),
        state.log("alpha"),
        state.result("an-id"),
        state.processes,
        state.port,
    ):
        assert path.is_relative_to(tmp_path / ".cloister")
    for folder in (state.folder, state.folder / "logs", state.folder / "results"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_open_state_folder_is_tightened(tmp_path: Path) -> None:
    (tmp_path / ".cloister").mkdir(mode=0o755)
    State(tmp_path).make()
    assert (tmp_path / ".cloister").stat().st_mode & 0o777 == 0o700


def test_settings_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    state = State(tmp_path / "a folder")
    workspace = state.site("alpha")
    settings = SiteSettings("alpha", tmp_path / "a folder", workspace, state.folder)
    (workspace / "local").mkdir(parents=True)
    settings.write(workspace / "local")
    assert SiteSettings.read(workspace) == SiteSettings.at(workspace) == settings
    assert (workspace / "local" / "cloister.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("changed", ["site", "root", "workspace", "state"])
def test_settings_that_do_not_fit_where_they_lie_are_refused(tmp_path: Path, changed: str) -> None:
    workspace = State(tmp_path).site("alpha")
    (workspace / "local").mkdir(parents=True)
    other = "beta" if changed == "site" else tmp_path / "elsewhere"
    replace(SiteSettings.at(workspace), **{changed: other}).write(workspace / "local")
    with pytest.raises(ProvisioningError, match="name another folder than they lie in"):
        SiteSettings.read(workspace)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        "{}",
        '{"site": "alpha"}',
        "\x00",
        json.dumps({"site": "a", "root": 5, "workspace": "", "state": ""}),
    ],
)
def test_damaged_settings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "cloister.json").write_text(text)
    with pytest.raises(FederationError, match="cannot be read"):
        SiteSettings.read(tmp_path)


def test_missing_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="cannot be read"):
        SiteSettings.read(tmp_path)
