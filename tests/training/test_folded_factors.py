# SPDX-License-Identifier: Apache-2.0
"""Factors of former rounds in the weights of small networks, and of the real base model as PEFT would load them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from transformers.pytorch_utils import Conv1D

from cloister.aggregation.factors import Trained, patterns, stacked
from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, initial_adapter
from cloister.training.exchange import Tensors
from cloister.training.folded_factors import FoldedFactors
from cloister.training.text_classifier import TextClassifier

from .conftest import job, setup_of, write_view

pytestmark = [
    pytest.mark.slow,  # torch, transformers and peft are imported
    # peft asks transformers by a name that transformers is about to drop
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

LAYERS = ("base_model.model.first", "base_model.model.second")


class Two(torch.nn.Module):
    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.first = Conv1D(5, 7) if transposed else torch.nn.Linear(7, 5)
        self.second = Conv1D(3, 5) if transposed else torch.nn.Linear(5, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(values))


def adapted(rank: int = 2, *, transposed: bool = False, **more: object) -> object:
    torch.manual_seed(0)
    config = LoraConfig(r=rank, lora_alpha=3, target_modules=["first", "second"], fan_in_fan_out=transposed, **more)
    return get_peft_model(Two(transposed), config)


def factors(rank: int, seed: int) -> Tensors:
    torch.manual_seed(seed)
    sizes = {LAYERS[0]: (5, 7), LAYERS[1]: (3, 5)}
    return {
        f"{layer}.lora_{factor}.weight": torch.randn((rank, width) if factor == "A" else (output, rank))
        for layer, (output, width) in sizes.items()
        for factor in "AB"
    }


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_what_is_folded_acts_as_an_adapter_does(transposed: bool, rslora: bool) -> None:
    # Of the job's rank, so that PEFT can be asked what they do as an adapter.
    model, beside = (adapted(transposed=transposed, use_rslora=rslora) for _ in range(2))
    learnt, values = factors(2, 1), torch.randn(4, 7)
    with torch.no_grad():
        for name, tensor in get_peft_model_state_dict(beside).items():
            tensor.copy_(learnt[name])
        plain = model(values)
        FoldedFactors(model).fold(learnt)
        torch.testing.assert_close(model(values), beside(values), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(model(values), plain)


def test_any_rank_is_folded_into_the_weights_as_they_were_loaded() -> None:
    model = adapted()
    weights = {name: model.get_submodule(name).get_base_layer().weight for name in LAYERS}
    loaded = {name: weight.detach().clone() for name, weight in weights.items()}
    folds = FoldedFactors(model)
    folds.fold({})
    for rank in (1, 4, 2):
        learnt = factors(rank, rank)
        folds.fold(learnt)
        for name, weight in weights.items():
            added = learnt[f"{name}.lora_B.weight"] @ learnt[f"{name}.lora_A.weight"] * 1.5
            assert torch.equal(weight, loaded[name] + added)
            assert not weight.requires_grad
    folds.fold({})
    assert all(torch.equal(weight, loaded[name]) for name, weight in weights.items())


def test_a_trainer_that_starts_anew_comes_to_the_same_weights() -> None:
    long, short = adapted(), adapted()
    folds = FoldedFactors(long)
    for seed in range(5):
        folds.fold(factors(3, seed))
    FoldedFactors(short).fold(factors(3, 4))
    for name in LAYERS:
        assert torch.equal(
            long.get_submodule(name).get_base_layer().weight, short.get_submodule(name).get_base_layer().weight
        )


@pytest.mark.parametrize("rslora", [False, True])
def test_the_result_is_an_adapter_that_peft_loads(tmp_path: Path, rslora: bool) -> None:
    # A rank for each layer, one above the job's and one below it.
    wide, narrow = factors(3, 0), factors(1, 1)
    learnt = {name: (wide if "first" in name else narrow)[name] for name in wide}
    arrays = {name: tensor.numpy() for name, tensor in learnt.items()}
    model = adapted(use_rslora=rslora)
    FoldedFactors(model).fold(learnt)
    scale = model.get_submodule(LAYERS[0]).scaling["default"]
    settings = patterns(arrays, scale, prefix="base_model.model.", root=rslora)
    adapted(use_rslora=rslora).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    safetensors.torch.save_file(learnt, tmp_path / "adapter_model.safetensors")
    torch.manual_seed(0)
    loaded, values = PeftModel.from_pretrained(Two(False), tmp_path), torch.randn(4, 7)
    assert set(get_peft_model_state_dict(loaded)) == set(learnt)
    with torch.no_grad():
        torch.testing.assert_close(loaded(values), model(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{LAYERS[0]}.lora_A.weight", (3, 8)),
        (f"{LAYERS[0]}.lora_A.weight", (4, 7)),
        (f"{LAYERS[0]}.lora_B.weight", (1, 3)),
        (f"{LAYERS[1]}.lora_B.weight", (3,)),
    ],
)
def test_factors_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainerError, match="not of its shape"):
        FoldedFactors(adapted()).fold({**factors(3, 0), name: torch.zeros(shape)})


def test_factors_of_other_layers_are_refused() -> None:
    few = {name: tensor for name, tensor in factors(3, 0).items() if "first" in name}
    for wrong in (few, {**factors(3, 0), "third.lora_A.weight": torch.zeros(3, 3)}):
        with pytest.raises(TrainerError, match="not those of the adapted layers"):
            FoldedFactors(adapted()).fold(wrong)


def trained(layout: AdapterLayout, seed: int) -> dict[str, np.ndarray]:
    """A first adapter whose B is no longer zero."""
    random = np.random.Generator(np.random.PCG64(seed))
    start = initial_adapter(layout, seed)
    return {
        name: (random.normal(size=array.shape) * 0.05).astype(np.float32) if "lora_B" in name else array
        for name, array in start.items()
    }


def test_a_trainer_folds_what_comes_with_a_request_and_sends_none_of_it_back(
    base_model: Path, layout: AdapterLayout, tmp_path: Path
) -> None:
    view = write_view(tmp_path / "view", train=40, validation=40)
    setup = setup_of(job(steps=2, learning_rate=1e-3), layout, view, base_model).model_copy(update={"folds": True})
    learnt, start = trained(layout, 1), initial_adapter(layout, 2)
    head = {name: array for name, array in start.items() if "lora" not in name}
    stack = stacked([Trained("a", 1, learnt), Trained("b", 3, trained(layout, 3))])
    one = TextClassifier(setup)
    # One site's factors are an adapter as well, of which is known what it does.
    one.load_adapter(safetensors.numpy.save(learnt | head))
    beside = one.evaluate()
    alone = {"folded." + name: array for name, array in learnt.items() if "lora" in name}
    one.load_adapter(safetensors.numpy.save(start | alone))
    assert one.evaluate()["loss"] == pytest.approx(beside["loss"], rel=1e-5)
    one.load_adapter(safetensors.numpy.save(start))
    assert one.evaluate()["loss"] != pytest.approx(beside["loss"], rel=1e-5)
    blob = safetensors.numpy.save(start | {"folded." + name: array for name, array in stack.items()})
    one.load_adapter(blob)
    one.train(3, lambda _step, _steps: None)
    anew = TextClassifier(setup)
    anew.load_adapter(blob)
    anew.train(3, lambda _step, _steps: None)
    assert one.adapter() == anew.adapter()
    assert {name: tensor.shape for name, tensor in safetensors.numpy.load(one.adapter()).items()} == layout.shapes()


def test_a_trainer_that_folds_nothing_takes_no_such_factors(
    base_model: Path, layout: AdapterLayout, tmp_path: Path
) -> None:
    one = TextClassifier(setup_of(job(), layout, write_view(tmp_path / "view", train=9, validation=9), base_model))
    start = initial_adapter(layout, 0)
    with pytest.raises(TrainerError, match="not those of the job"):
        one.load_adapter(safetensors.numpy.save(start | {"folded." + name: array for name, array in start.items()}))
