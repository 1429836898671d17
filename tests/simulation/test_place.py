# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.files import private_folder, sha256_of, write_json
from cloister.simulation import put_result, reserved_place, working_folder

WEIGHTS = b"weights"


def written(folder: Path) -> Path:
    """What rounds leave, as far as it is looked at."""
    private_folder(folder / "adapter")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(WEIGHTS)
    write_json(folder / "adapter" / "adapter_config.json", {})
    keys = ("job_sha256", "rounds", "history", "sites", "statistics", "statistics_by_site", "after", "after_by_site")
    result = dict.fromkeys(keys) | {"job_id": "x", "job": {}, "chosen": {}, "adapter_sha256": sha256_of(WEIGHTS)}
    write_json(folder / "result.json", result)
    return folder


def test_results_of_a_job_are_numbered(tmp_path: Path) -> None:
    assert [reserved_place(tmp_path / "s", "triage").name for _ in range(2)] == ["triage-1", "triage-2"]
    assert reserved_place(tmp_path / "s", "other").name == "other-1"
    assert (tmp_path / "s" / "triage-1").stat().st_mode & 0o777 == 0o700


def test_a_working_folder_is_gone_afterwards_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), working_folder(tmp_path / "s") as work:
        (work / "view").mkdir()
        raise RuntimeError
    assert list((tmp_path / "s").iterdir()) == []


def test_what_a_killed_simulation_left_is_removed_and_what_another_uses_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".work-killed"
    (left / "sites").mkdir(parents=True)
    (left / "lock").touch()
    with working_folder(tmp_path) as first, working_folder(tmp_path) as second:
        assert not left.exists()
        assert first.is_dir()
        assert second.is_dir()


def test_a_result_says_that_it_was_simulated_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    place = tmp_path / "out"
    for sites in (3, 4):
        put_result(written(tmp_path / f"rounds-{sites}"), place, {"sites": sites, "skew": None})
        assert json.loads((place / "result.json").read_text())["simulation"] == {"sites": sites, "skew": None}
    assert (place / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS
    assert {path.name for path in tmp_path.iterdir()} == {"out", "rounds-3", "rounds-4"}


def test_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="something else than a result"):
        put_result(written(tmp_path / "rounds"), tmp_path / "out", {})
