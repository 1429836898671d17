# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from cloister.demo import compare
from cloister.egress import write_adapter
from cloister.jobs import initial_adapter, layout_of
from cloister.repository import load_repository
from tests.federation_folder import JOB, SITES, base_model, make_federation, records_of

pytestmark = pytest.mark.slow


def trainers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "bwrap" in child.name()]


def test_whoever_interrupts_a_comparison_does_not_wait_for_its_trainers(tmp_path: Path) -> None:
    repo = load_repository(make_federation(tmp_path, job={"training": {"steps": 500}, "federation": {"rounds": 100}}))
    document = repo.jobs[JOB]
    adapter = write_adapter(initial_adapter(layout_of(document.value, base_model=base_model()), seed=7))
    interrupted: list[float] = []

    def interrupt_soon() -> None:
        while not trainers():
            time.sleep(0.05)
        time.sleep(1.0)
        interrupted.append(time.monotonic())
        psutil.Process().send_signal(2)

    threading.Thread(target=interrupt_soon, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        compare(repo, document, adapter, records_of("alpha"), lambda _: None, keys=dict.fromkeys(SITES, bytes(32)))
    assert time.monotonic() - interrupted[0] < 10
    assert trainers() == []
