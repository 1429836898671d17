# SPDX-License-Identifier: Apache-2.0
"""Each task finds its trainer, and a base model writes conversations by its own template in the sandbox as well."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import safetensors.numpy
from benchmarks.small_language_model import END, Size, initial_model, make_tokenizer, save

from cloister.jobs import Job, Task, initial_adapter, layout_of
from cloister.messages import Evaluate, Setup, Train
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, missing
from cloister.silos import ColumnKind
from cloister.training.custom import METHODS
from cloister.training.tasks import TRAINERS, trainer_for

from .conftest import setup_of
from .test_causal_language_model import job, write_view

pytestmark = pytest.mark.slow

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}" + END + "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_every_task_that_trains_has_a_trainer() -> None:
    assert set(TRAINERS) == set(Task) - {Task.STATISTICS}


@pytest.mark.parametrize("task", TRAINERS)
def test_a_trainer_has_the_methods_of_one(task: Task) -> None:
    module, name = TRAINERS[task]
    found = getattr(importlib.import_module(f"cloister.training.{module}"), name)
    assert all(callable(getattr(found, method)) for method in METHODS)


def test_a_conversation_in_the_sandbox_is_what_it_is_outside(tmp_path: Path) -> None:
    mode = SandboxMode.BUBBLEWRAP
    if sentence := missing():
        if os.environ.get("CLOISTER_WITHOUT_SANDBOX") != "1":
            pytest.fail(f"{sentence}; set CLOISTER_WITHOUT_SANDBOX=1 to run the trainer without a sandbox")
        mode = SandboxMode.UNSAFE_NONE
    size = Size(hidden=32, layers=2, heads=2, inner=48, positions=64, vocabulary=300)
    tokenizer = make_tokenizer(["aspirin", "one tablet"], size)
    base_model, state = tmp_path / "model", tmp_path / "state"
    metrics = {}
    view = write_view(state / "view")
    for template in (None, CHAT):
        tokenizer.chat_template = template
        save(initial_model(tokenizer, "llama", size), tokenizer, base_model)
        metrics[template] = trainer_for(_setup(job(messages=True, steps=2), view, base_model)).evaluate()
    assert metrics[None] != metrics[CHAT]
    assert (base_model / "chat_template.jinja").is_file()
    the_job = job(messages=True, steps=2)
    layout = layout_of(the_job, base_model=base_model)
    blob = safetensors.numpy.save(initial_adapter(layout, 0))
    enclosure = Enclosure(view, base_model, (state,), Limits(4 * 2**30, 64, 1), tmp_path / "log")
    with Trainer(
        enclosure, _setup(the_job, view, base_model), mode=mode, maximum_blob_bytes=2 * layout.bytes + 2**16
    ) as one:
        one.start(120)
        done, trained = one.ask(Train(round=1), blob, 120)
        after, _ = one.ask(Evaluate(), trained, 120)
    assert {name: done.metrics[name] for name in metrics[CHAT]} == pytest.approx(metrics[CHAT])
    assert after.metrics["loss"] < done.metrics["loss"]


def _setup(the_job: Job, view: Path, base_model: Path) -> Setup:
    layout = layout_of(the_job, base_model=base_model)
    return setup_of(the_job, layout, view, base_model, talk=ColumnKind.MESSAGES)
