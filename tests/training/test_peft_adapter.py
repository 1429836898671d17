# SPDX-License-Identifier: Apache-2.0
"""Every method that adds something to a base model, end to end: trained, sent, and read back by peft alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloister.errors import TrainerError
from cloister.training.peft_adapter import of_texts

from .methods import TARGETS, job, peft_agrees, small_model, started, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
TEXTS, TOKENS, TALK = "text-classification", "token-classification", "causal-language-modelling"
PAIRS = [
    ("bert", TEXTS),
    ("bert", TOKENS),
    ("roberta", TEXTS),
    ("distilbert", TOKENS),
    ("gpt2", TALK),
    ("llama", TALK),
    ("qwen2", TALK),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def lora(kind: str, **more: Any) -> dict[str, Any]:
    return {"lora": {"rank": 4, "alpha": 8, "targets": TARGETS[kind], **more}}


def ways(kind: str) -> dict[str, dict[str, Any]]:
    return {
        "lora": lora(kind),
        "rslora": lora(kind, rslora=True),
        "dora": lora(kind, dora=True),
        "dora and rslora": lora(kind, dora=True, rslora=True, dropout=0.1),
        "ia3": {"ia3": {"targets": TARGETS[kind], "feedforward": TARGETS[kind][1:]}},
        "prompt": {"prompt": {"tokens": 5}},
        "prefix": {"prefix": {"tokens": 5}},
    }


@pytest.mark.parametrize("way", ["lora", "rslora", "dora", "dora and rslora", "ia3", "prompt", "prefix"])
@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_trains_sends_the_layouts_tensors_and_peft_reads_them(
    kind: str, task: str, way: str, models: Path, base_model: Path, tmp_path: Path
) -> None:
    if kind == "distilbert" and way in ("prompt", "prefix"):
        pytest.skip("peft puts no tokens before texts of such models")
    the_job = job(task, ways(kind)[way])
    trainer, layout, first = started(the_job, small_model(kind, base_model, models / kind), tmp_path / "view")
    before = trainer.evaluate()["loss"]
    update = train(trainer, layout, first)
    assert trainer.evaluate()["loss"] != before
    peft_agrees(trainer, the_job, layout, update, tmp_path / "result")


@pytest.mark.parametrize("rslora", [False, True])
def test_a_site_with_a_lower_rank_scales_as_the_others_do(
    rslora: bool, models: Path, base_model: Path, tmp_path: Path
) -> None:
    the_job = job(TEXTS, lora("bert", rslora=rslora))
    folder = small_model("bert", base_model, models / "bert")
    whole, _, _ = started(the_job, folder, tmp_path / "whole")
    trainer, layout, first = started(the_job, folder, tmp_path / "view", rank=2)
    update = train(trainer, layout, first)
    assert {array.shape[0] for name, array in update.items() if name.endswith("lora_A.weight")} == {2}
    for one in (trainer, whole):
        scales = [module.scaling["default"] for module in one.model.modules() if hasattr(module, "lora_A")]
        assert scales == pytest.approx([8 / 4**0.5 if rslora else 2.0] * 6)
    # Zeros beside make factors of the full rank of them, and the same network.
    padded = {
        name: np.pad(array, [(0, 2), (0, 0)] if name.endswith("lora_A.weight") else [(0, 0), (0, 2)])
        if ".lora_" in name
        else array
        for name, array in update.items()
    }
    whole._exchange.load({name: torch.from_numpy(array) for name, array in padded.items()})
    assert whole.evaluate()["loss"] == pytest.approx(trainer.evaluate()["loss"], abs=1e-6)


def test_lengths_go_back_as_they_came_where_nothing_is_trained(models: Path, base_model: Path, tmp_path: Path) -> None:
    import safetensors.numpy

    the_job = job(TEXTS, lora("bert", dora=True))
    trainer, layout, first = started(the_job, small_model("bert", base_model, models / "bert"), tmp_path / "view")
    drawn = np.random.default_rng(1)
    sent = {name: drawn.normal(0, 1e-4, array.shape).astype(np.float32) for name, array in first.items()}
    trainer.load_adapter(safetensors.numpy.save(sent))
    back = safetensors.numpy.load(trainer.adapter())
    assert all(np.array_equal(back[name], sent[name]) for name in sent)
    assert layout.bases


@pytest.mark.parametrize("way", ["prompt", "prefix"])
def test_virtual_tokens_take_the_place_of_others(way: str, models: Path, base_model: Path, tmp_path: Path) -> None:
    folder = small_model("gpt2", base_model, models / "gpt2")
    trainer, _, _ = started(job(TALK, {way: {"tokens": 60}}, maximum_tokens=64), folder, tmp_path / "view")
    assert trainer._longest(trainer._tokenizer()) == 4  # of 64 positions
    trainer.evaluate()
    with pytest.raises(TrainerError, match=f"tokens of `{way}` leave no place for a text"):
        started(job(TALK, {way: {"tokens": 64}}), folder, tmp_path / "other")


def test_what_is_said_of_texts_alone() -> None:
    said, tokens = torch.arange(12).reshape(1, 6, 2), torch.zeros(1, 4)
    assert of_texts(said, tokens).tolist() == [[[4, 5], [6, 7], [8, 9], [10, 11]]]
    assert of_texts(said, torch.zeros(1, 6)) is not None
    assert of_texts(said, torch.zeros(1, 6)).equal(said)
