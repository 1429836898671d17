# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from cloister.files import private_folder
from cloister.flare.leftover_updates import RECEIVED, TENSORS, remove_leftover_updates, work_folder
from cloister.flare.lost_jobs import LostJobs


def left_behind(run: Path) -> Path:
    """A job's folder with a result, and with updates that nobody removed."""
    result = private_folder(run / "cloister")
    (result / "state.json").write_text("{}")
    for folder in (work_folder(result) / "updates", run / RECEIVED, run / "private" / TENSORS):
        (private_folder(folder) / "alpha").write_bytes(b"an update")
    return run


def files_in(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*"))


def test_updates_of_a_killed_job_process_are_removed_and_its_result_is_not(tmp_path: Path) -> None:
    run = left_behind(tmp_path / "an-id")
    remove_leftover_updates(run)
    assert files_in(run) == ["cloister", "cloister/state.json", "private"]
    remove_leftover_updates(run)  # nothing is left to remove
    remove_leftover_updates(tmp_path / "another")  # there never was one


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = left_behind(tmp_path / "other")
    run = private_folder(tmp_path / "an-id")
    (run / RECEIVED).symlink_to(other)
    remove_leftover_updates(run)
    assert len(files_in(other)) == 10


def test_a_server_that_starts_removes_what_the_one_before_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "startup").mkdir()
    (tmp_path / "local").mkdir()
    run, fl_ctx = left_behind(tmp_path / "an-id"), FLContext()
    fl_ctx.set_prop(FLContextKey.WORKSPACE_OBJECT, Workspace(str(tmp_path), site_name="server"), private=True)
    marked: list[FLContext] = []
    monkeypatch.setattr("cloister.flare.lost_jobs._mark", marked.append)
    LostJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, fl_ctx)
    assert files_in(run) == ["cloister", "cloister/state.json", "private"]
    assert marked == [fl_ctx]
