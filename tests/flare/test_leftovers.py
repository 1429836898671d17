# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cloister.files import private_folder
from cloister.flare.leftover_updates import RECEIVED, TENSORS
from cloister.flare.leftovers import remove_leftovers


def test_views_and_tensors_of_killed_job_processes_are_removed_and_their_logs_are_not(tmp_path: Path) -> None:
    private = private_folder(tmp_path / "an-id" / "private")
    for name in ("view", ".view.x1y2"):
        (private_folder(private / name) / "train.parquet").write_bytes(b"records")
    (private / "trainer.log").write_text("words")
    for folder in (private / TENSORS, private.parent / RECEIVED):
        (private_folder(folder) / "answer").write_bytes(b"what was learnt")
    (private_folder(tmp_path / "local") / "view").mkdir()
    remove_leftovers(tmp_path)
    assert [path.name for path in private.iterdir()] == ["trainer.log"]
    assert list(private.parent.iterdir()) == [private]
    assert (tmp_path / "local" / "view").is_dir()
