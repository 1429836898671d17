# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cloister.jobs.method_tensors import is_bias
from cloister.training.bitfit import biases_alone

from .methods import job, small_model, started, train


def test_freezes_all_but_biases_and_the_head() -> None:
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3), "head": torch.nn.Linear(3, 1, bias=False)})
    biases_alone(network)
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["a.bias"]
    biases_alone(network, lambda name: name.startswith("head"))
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["a.bias", "head.weight"]


@pytest.mark.parametrize(
    ("name", "found"), [("bias", True), ("a.bias", True), ("a.bias.weight", False), ("a.nobias", False), ("", False)]
)
def test_biases_by_their_names(name: str, found: bool) -> None:
    assert is_bias(name) is found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("bert", "text-classification"),
        ("roberta", "token-classification"),
        ("distilbert", "text-classification"),
        ("gpt2", "causal-language-modelling"),
        ("qwen2", "causal-language-modelling"),
    ],
)
def test_trains_and_sends_differences(kind: str, task: str, base_model: Path, tmp_path: Path) -> None:
    the_job = job(task, {"bitfit": {}}, steps=8)
    trainer, layout, first = started(the_job, small_model(kind, base_model, tmp_path / "model"), tmp_path / "view")
    before = trainer.evaluate()["loss"]
    update = train(trainer, layout, first)
    after = trainer.evaluate()["loss"]
    assert after != before
    assert {layout.part_of(tensor) for tensor in layout.tensors if is_bias(tensor.name)} >= {"model"}
    # What was learnt is what is sent: it makes the same network of a base model that was just loaded.
    again, _, _ = started(the_job, tmp_path / "model", tmp_path / "again")
    again._exchange.load({name: torch.from_numpy(array) for name, array in update.items()})
    assert again.evaluate()["loss"] == pytest.approx(after, rel=1e-6)
