# SPDX-License-Identifier: Apache-2.0
"""What stays of jobs at a site is kept, and not for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from cloister.flare.personal_layers import KEPT_DAYS, KEPT_JOBS, PERSONAL, keep_personal, trim_personal

NOW = time.time()
DAY = 24 * 3600.0


def kept(workspace: Path) -> list[str]:
    return sorted(path.stem for path in (workspace / PERSONAL).iterdir())


def put(workspace: Path, job_id: str, days_ago: float) -> None:
    path = keep_personal(workspace, job_id, {"classifier.bias": np.ones(2, np.float32)}, now=NOW)
    os.utime(path, (NOW - days_ago * DAY, NOW - days_ago * DAY))


def test_it_is_the_sites_account_alone_that_can_read_it(tmp_path: Path) -> None:
    path = keep_personal(tmp_path, "a-job", {"classifier.bias": np.ones(2, np.float32)})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert safetensors.numpy.load_file(path)["classifier.bias"].tolist() == [1.0, 1.0]


def test_the_newest_jobs_stay(tmp_path: Path) -> None:
    for number in range(KEPT_JOBS + 3):
        put(tmp_path, f"job-{number:02d}", days_ago=100 - number)
    trim_personal(tmp_path, NOW)
    assert kept(tmp_path) == [f"job-{number:02d}" for number in range(3, KEPT_JOBS + 3)]


def test_what_is_old_goes_also_where_it_is_little(tmp_path: Path) -> None:
    put(tmp_path, "old", days_ago=KEPT_DAYS + 1)
    put(tmp_path, "new", days_ago=KEPT_DAYS - 1)
    trim_personal(tmp_path, NOW)
    assert kept(tmp_path) == ["new"]


def test_a_site_that_never_kept_any_has_nothing_to_trim(tmp_path: Path) -> None:
    trim_personal(tmp_path, NOW)
    assert list(tmp_path.iterdir()) == []


def test_what_another_job_removed_meanwhile_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "new", days_ago=1)
    put(tmp_path, "old", days_ago=KEPT_DAYS + 1)
    stat = Path.stat

    def removed_first(path: Path, **how: bool) -> os.stat_result:
        if path.stem == "old":
            path.unlink(missing_ok=True)
        return stat(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", removed_first)
        trim_personal(tmp_path, NOW)
    assert kept(tmp_path) == ["new"]
