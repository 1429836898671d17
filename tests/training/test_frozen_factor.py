# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from cloister.errors import TrainerError
from cloister.jobs import initial_adapter, layout_of
from cloister.jobs.live_tensors import Factor, live_layout
from cloister.training.frozen_factor import without_training
from cloister.training.text_classifier import TextClassifier

from .conftest import job, setup_of, write_view


def quietly(_step: int, _steps: int) -> None:
    pass


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> TextClassifier:
    the_job = job(steps=4, weight_decay=0.1)
    layout = layout_of(the_job, base_model=tiny_bert)
    view = write_view(tmp_path / "view", train=40, validation=10)
    return TextClassifier(setup_of(the_job, layout, view, tiny_bert))


@pytest.mark.slow
def test_the_factor_comes_back_as_it_was_and_all_else_is_trained(trainer: TextClassifier, tiny_bert: Path) -> None:
    layout = layout_of(job(), base_model=tiny_bert)
    random = np.random.Generator(np.random.PCG64(2))
    sent = {name: random.normal(scale=0.1, size=shape).astype(np.float32) for name, shape in layout.shapes().items()}
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    frozen: Factor
    for frozen in ("a", "b"):
        live = live_layout(layout, frozen).shapes()
        trainer.load_adapter(safetensors.numpy.save(sent))
        trainer.freeze(frozen)
        trainer.train(1, quietly)
        came = safetensors.numpy.load(trainer.adapter())
        assert {name for name in came if came[name].tobytes() == sent[name].tobytes()} == came.keys() - live.keys()
        assert all(not np.array_equal(came[name], sent[name]) for name in live)
        assert 0 < len(live) < len(came)
    trainer.freeze(None)
    trainer.load_adapter(safetensors.numpy.save(sent))
    trainer.train(1, quietly)
    came = safetensors.numpy.load(trainer.adapter())
    assert all(not np.array_equal(came[name], sent[name]) for name in sent)
    assert {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad} == trained


@pytest.mark.slow
def test_what_was_left_in_one_round_is_nothing_to_the_next(trainer: TextClassifier, tiny_bert: Path) -> None:
    sent = safetensors.numpy.save(initial_adapter(layout_of(job(), base_model=tiny_bert), 1))
    results = []
    for frozen in ("a", "b", "a"):
        trainer.load_adapter(sent)
        trainer.freeze(frozen)  # type: ignore[arg-type]
        trainer.train(2, quietly)
        results.append(trainer.adapter())
    assert results[0] == results[2] != results[1]


class Adapted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(2, 1, bias=False)})
        self.lora_B = torch.nn.ModuleDict({"default": torch.nn.Linear(1, 2, bias=False)})
        self.lora_alpha = torch.nn.Linear(1, 1)


def test_is_trained_again_after_it_whatever_happened() -> None:
    network = Adapted()

    def trained() -> set[str]:
        return {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    whole = trained()
    with without_training(network, None):
        assert trained() == whole
    with pytest.raises(RuntimeError), without_training(network, "b"):
        assert whole - trained() == {"lora_B.default.weight"}
        raise RuntimeError
    assert trained() == whole


def test_a_network_without_factors_is_refused() -> None:
    with pytest.raises(TrainerError, match="trains no such factor"), without_training(torch.nn.Linear(1, 1), "a"):
        pytest.fail("was entered")
