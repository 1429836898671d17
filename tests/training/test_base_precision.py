# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from cloister.errors import TrainerError

from .methods import job, small_model, started, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
PAIRS = [("bert", "text-classification"), ("llama", "causal-language-modelling")]
TARGETS = {"bert": ["query", "value"], "llama": ["q_proj", "down_proj"]}


def lora(kind: str, precision: str) -> dict[str, object]:
    return {"lora": {"rank": 4, "alpha": 8, "targets": TARGETS[kind], "base_model_precision": precision}}


@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_a_base_model_in_half_the_memory(kind: str, task: str, base_model: Path, tmp_path: Path) -> None:
    folder = small_model(kind, base_model, tmp_path / "model")
    trainer, layout, first = started(job(task, lora(kind, "bfloat16")), folder, tmp_path / "view")
    kinds = {parameter.dtype for parameter in trainer.model.parameters() if not parameter.requires_grad}
    assert kinds == {torch.bfloat16}
    assert {each.dtype for each in trainer.model.parameters() if each.requires_grad} == {torch.float32}
    before = trainer.evaluate()["loss"]
    update = train(trainer, layout, first)
    assert trainer.evaluate()["loss"] < before
    # Near to what is learnt beside a base model in float32, and not the same.
    other, _, _ = started(job(task, lora(kind, "float32")), folder, tmp_path / "other")
    same = train(other, layout, first)
    name = next(name for name in update if name.endswith("lora_B.weight"))
    assert not np.array_equal(update[name], same[name])
    assert trainer.evaluate()["loss"] == pytest.approx(other.evaluate()["loss"], rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_four_bits_without_a_gpu_are_refused_and_nothing_else_is_done(
    kind: str, task: str, base_model: Path, tmp_path: Path
) -> None:
    folder = small_model(kind, base_model, tmp_path / "model")
    with pytest.raises(TrainerError) as caught:
        started(job(task, lora(kind, "nf4")), folder, tmp_path / "view")
    assert caught.value.message == "the job holds its base model in nf4, and a trainer sees no GPU here for it"
    assert caught.value.hint == "say `base_model_precision: bfloat16` or `float32` under `method.lora` in the job"


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_four_bits_without_bitsandbytes_are_refused(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloister.training import base_precision

    setup = started(job("text-classification", lora("bert", "float32")), *_places(base_model, tmp_path))[0].setup
    method = job("text-classification", lora("bert", "nf4")).way
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as on a machine with a GPU
    with pytest.raises(TrainerError, match="in nf4, and bitsandbytes is not installed here"):
        base_precision.loading_options(setup.model_copy(update={"method": method}))


def _places(base_model: Path, tmp_path: Path) -> tuple[Path, Path]:
    return small_model("bert", base_model, tmp_path / "model"), tmp_path / "view"


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_four_bits_on_a_gpu(kind: str, task: str, base_model: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    folder = small_model(kind, base_model, tmp_path / "model")
    the_job = job(task, lora(kind, "nf4"))
    trainer, layout, first = started(the_job, folder, tmp_path / "view")
    assert any(type(module).__name__ == "Linear4bit" for module in trainer.model.modules())
    before = trainer.evaluate()["loss"]
    train(trainer, layout, first)
    assert trainer.evaluate()["loss"] < before
