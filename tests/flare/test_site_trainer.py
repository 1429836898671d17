# SPDX-License-Identifier: Apache-2.0
"""A trainer's life at a site, with a process in memory; tests/flare/test_site_job.py has it under a job's gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloister.errors import JobError
from cloister.files import private_folder
from cloister.flare.site_trainer import SiteTrainer
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.messages import Train
from cloister.repository import load_site
from cloister.sandbox import Enclosure, SandboxMode
from tests.flare.signed_jobs import job_of
from tests.flare.site_folder import SITE, make_site, open_job


class Process:
    """Stands where the sandboxed process stands; notes what is asked of it."""

    def __init__(self, enclosure: Enclosure, setup: Any, *, mode: SandboxMode, maximum_blob_bytes: int) -> None:
        self.enclosure, self.mode, self.calls = enclosure, mode, [f"most {maximum_blob_bytes > 0}"]

    def start(self, seconds: float) -> None:
        self.calls.append("start")

    def ask_in_files(self, message: Train, request: Path, answer: Path, seconds: float) -> Any:
        self.calls.append(f"ask within {seconds:g} s")
        private_folder(answer.parent)
        answer.write_bytes(request.read_bytes())
        return message

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def trainer(tmp_path: Path) -> SiteTrainer:
    root = make_site(tmp_path / "federation").resolve()
    private = tmp_path / "private"
    (private / "view").mkdir(parents=True)
    open_job(root)
    return SiteTrainer(job_of(root).value, load_site(root, SITE).silo.value, private)


def begin(trainer: SiteTrainer) -> Process:
    made: list[Process] = []

    def make(*arguments: Any, **named: Any) -> Any:
        made.append(Process(*arguments, **named))
        return made[-1]

    layout = AdapterLayout((TensorSpec("a", (2, 3), "zeros"),), ())
    protected = (trainer.private.parent,)
    trainer.start(make, layout, trainer.private / "model", protected, SandboxMode.BUBBLEWRAP, maximum_blob_bytes=1000)
    return made[0]


def test_it_is_started_asked_and_closed(trainer: SiteTrainer, tmp_path: Path) -> None:
    process = begin(trainer)
    assert process.enclosure.view == trainer.view
    assert process.enclosure.protected == (trainer.private.parent,)
    (tmp_path / "request").write_bytes(b"adapter")
    _, answer = trainer.ask(Train(round=1), tmp_path / "request")
    assert answer.read_bytes() == b"adapter"
    assert trainer.view.exists()
    trainer.close()
    trainer.close()
    assert process.calls == ["most True", "start", "ask within 120 s", "close", "close"]
    assert not trainer.view.exists()
    assert not trainer.tensors.exists()


def test_before_its_start_there_is_nobody_to_ask(trainer: SiteTrainer) -> None:
    with pytest.raises(JobError, match="before the site was ready"):
        trainer.ask(Train(round=1), Path("/nowhere"))


def test_what_was_closed_is_not_started(trainer: SiteTrainer) -> None:
    trainer.close()
    trainer.view.mkdir()
    with pytest.raises(JobError, match="was stopped"):
        begin(trainer)
    assert trainer.process is None
    assert not trainer.view.exists()


def test_a_process_that_does_not_start_can_still_be_closed(
    trainer: SiteTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: Process, seconds: float) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(Process, "start", stumble)
    with pytest.raises(RuntimeError):
        begin(trainer)
    process: Any = trainer.process
    trainer.close()
    assert process.calls[-1] == "close"
