# SPDX-License-Identifier: Apache-2.0
"""The trainer as its sites run it: a process in the sandbox, spoken to over the pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy

from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, initial_adapter
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.kept_tensors import exchanged_layout, first_kept, kept_layout
from cloister.messages import Evaluate, Progress, Ready, Setup, Train
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, missing
from tests.blobs import apart, joined
from tests.frames import encode

from .conftest import LABELS, job, setup_of, write_view

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred

Make = Callable[..., Trainer]


@pytest.fixture
def trainer(base_model: Path, layout: AdapterLayout, tmp_path: Path) -> Make:
    mode = SandboxMode.BUBBLEWRAP
    if sentence := missing():
        if os.environ.get("CLOISTER_WITHOUT_SANDBOX") != "1":
            pytest.fail(f"{sentence}; set CLOISTER_WITHOUT_SANDBOX=1 to run the trainer without a sandbox")
        mode = SandboxMode.UNSAFE_NONE
    state = tmp_path / "state"

    def make(view: Path, change: Callable[[Setup], Setup] = lambda setup: setup, **more: object) -> Trainer:
        limits = Limits(memory_bytes=4 * 2**30, processes=64, threads=1)
        enclosure = Enclosure(view, base_model, (state,), limits, tmp_path / "log")
        setup = change(setup_of(job(steps=20), layout, view, base_model))
        return Trainer(enclosure, setup, mode=mode, maximum_blob_bytes=5 * layout.bytes, **more)  # type: ignore[arg-type]

    return make


@pytest.mark.slow
def test_two_rounds_in_the_sandbox(trainer: Make, layout: AdapterLayout, tmp_path: Path) -> None:
    told: list[Progress] = []
    view = write_view(tmp_path / "state" / "view", train=120, validation=40)
    blob = safetensors.numpy.save(initial_adapter(layout, 0))
    with trainer(view, on_progress=told.append) as one:
        one.start(120)
        first, blob = one.ask(Train(round=0), blob, 120)
        second, blob = one.ask(Train(round=1), blob, 120)
        last, nothing = one.ask(Evaluate(), blob, 120)
    assert one.restarts == 0
    assert nothing == b""
    assert first.records == 120
    assert last.metrics["loss"] < second.metrics["loss"] < first.metrics["loss"] == pytest.approx(np.log(3), abs=0.1)
    assert second.metrics["train_loss"] < first.metrics["train_loss"]
    assert last.metrics["accuracy"] > 0.9
    assert set(first.metrics) == {"accuracy", "macro_f1", "loss", "train_loss"}
    assert set(last.metrics) == {"accuracy", "macro_f1", "loss"}
    assert {name: value.shape for name, value in safetensors.numpy.load(blob).items()} == layout.shapes()
    assert told
    assert all(1 <= progress.step <= progress.steps == 20 for progress in told)


@pytest.mark.slow
def test_a_killed_trainer_comes_to_the_same_result(trainer: Make, layout: AdapterLayout, tmp_path: Path) -> None:
    view = write_view(tmp_path / "state" / "view", train=60, validation=10)
    blob = safetensors.numpy.save(initial_adapter(layout, 0))

    def kill_first(_: Progress) -> None:
        if killed.restarts == 0:
            os.kill(killed.pid or 0, 9)

    with trainer(view) as undisturbed:
        undisturbed.start(120)
        expected = undisturbed.ask(Train(round=3), blob, 120)
    with trainer(view, on_progress=kill_first) as killed:
        killed.start(120)
        assert killed.ask(Train(round=3), blob, 120) == expected
        assert killed.restarts == 1


@pytest.mark.slow
@pytest.mark.parametrize("client", [{"scaffold": {}}, {"ditto": {"strength": 0.1}}], ids=["scaffold", "ditto"])
def test_what_a_site_keeps_outlives_the_trainer(
    trainer: Make, layout: AdapterLayout, tmp_path: Path, client: dict[str, object]
) -> None:
    view = write_view(tmp_path / "state" / "view", train=60, validation=10)
    aggregation = Aggregation.model_validate({"client": client})
    exchanged, kept = exchanged_layout(aggregation, layout), kept_layout(aggregation, layout)
    update = {"client": aggregation.client, "shapes": exchanged.shapes(), "kept": kept.shapes()}
    start = initial_adapter(exchanged, 0)
    rounds = []
    for kills in (0, 1):

        def kill(_: Progress, kills: int = kills) -> None:
            if one.restarts < kills:
                os.kill(one.pid or 0, 9)

        with trainer(view, lambda setup: setup.model_copy(update=update), on_progress=kill) as one:
            one.start(120)
            _, blob = one.ask(Train(round=1), joined(start, first_kept(aggregation, layout, 0)), 120)
            found = apart(blob, exchanged, kept)
            rounds.append(one.ask(Train(round=2), joined(found.exchanged, found.kept), 120))
            assert one.restarts == kills
    assert rounds[0] == rounds[1]
    assert ("personal_loss" in rounds[0][0].metrics) == ("ditto" in client)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"threads": 2}], ids=["another view", "another job"])
def test_on_another_view_it_comes_to_what_a_new_one_comes_to(
    trainer: Make, layout: AdapterLayout, tmp_path: Path, change: dict[str, object]
) -> None:
    views = tmp_path / "state" / "views"
    first, second = (
        write_view(views / name, train=train, validation=20) for name, train in (("first", 60), ("second", 90))
    )
    blob = safetensors.numpy.save(initial_adapter(layout, 0))

    def on(view: Path) -> Callable[[Setup], Setup]:
        return lambda setup: setup.model_copy(update={"view": str(view), **(change if view == second else {})})

    with trainer(views, on(second)) as new:
        new.start(120)
        expected = new.ask(Train(round=2), blob, 120)
    setups: list[Setup] = []
    with trainer(views, lambda setup: setups.append(setup) or on(first)(setup)) as one:  # type: ignore[func-returns-value]
        one.start(120)
        one.ask(Train(round=1), blob, 120)
        one.turn_to(on(second)(setups[0]))
        assert one.ask(Train(round=2), blob, 120) == expected
        one.turn_to(on(first)(setups[0]))
        assert one.ask(Train(round=2), blob, 120) != expected
        assert one.restarts == 0


@pytest.mark.slow
def test_one_class_and_no_validation_records(trainer: Make, layout: AdapterLayout, tmp_path: Path) -> None:
    view = write_view(tmp_path / "state" / "view", train=20, validation=0, labels=LABELS[:1])
    with trainer(view) as one:
        one.start(120)
        done, _ = one.ask(Train(round=0), safetensors.numpy.save(initial_adapter(layout, 0)), 120)
    assert set(done.metrics) == {"train_loss"}


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["shapes", "labels"])
def test_what_does_not_fit_the_job_fails_before_it_is_ready(trainer: Make, tmp_path: Path, reason: str) -> None:
    view = write_view(tmp_path / "state" / "view", train=20, validation=5)
    if reason == "labels":
        table = pa.table({"note": ["Jane Doe has a rash"], "ward": ["secret ward"]})
        pyarrow.parquet.write_table(table, view / "train.parquet")

    def change(setup: Setup) -> Setup:
        return setup.model_copy(update={"shapes": {"a": (1,)}}) if reason == "shapes" else setup

    with trainer(view, change) as one, pytest.raises(TrainerError, match="the trainer failed"):
        one.start(120)
    log = (tmp_path / "log").read_text()
    assert "the trainer failed: " in log
    assert "Jane" not in log


def test_what_is_printed_does_not_reach_the_pipe() -> None:
    code = (
        "import os\nfrom cloister.messages import Ready\nfrom cloister.training.conversation import Pipe\n"
        "pipe = Pipe.from_standard_streams()\nprint('stray', flush=True)\nos.system('echo stray')\n"
        "os.write(1, b'stray')\npipe.send(Ready())\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], input=b"", capture_output=True, check=True)
    assert done.stdout == encode(Ready())
    assert done.stderr.count(b"stray") == 3


def test_ends_when_the_job_process_hangs_up() -> None:
    argv = [sys.executable, "-I", "-m", "cloister.training"]
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_refuses_a_request_before_the_setup() -> None:
    argv = [sys.executable, "-I", "-m", "cloister.training"]
    done = subprocess.run(argv, input=encode(Evaluate()), capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b'"failed"' in done.stdout
