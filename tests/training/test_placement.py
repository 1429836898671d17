# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, Training
from cloister.training.placement import accelerator_for, seed_round, settle

from .conftest import forget_precision, job, setup_of

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")


def plan(**changes: object) -> Training:
    return Training.model_validate({"steps": 1, "batch_size": 1, "learning_rate": 0.1, **changes})


def test_a_process_that_is_settled_draws_the_same_and_computes_the_same(tmp_path: Path) -> None:
    setup = setup_of(job(), AdapterLayout((), ()), tmp_path, None)
    draws = []
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    for _ in range(2):
        device = settle(setup)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1]
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == setup.threads
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_round_and_seed_decide_what_is_drawn() -> None:
    draws = {}
    for seed in (0, 1):
        for number in (1, 2):
            seed_round(plan(seed=seed), number)
            draws[seed, number] = torch.rand(1).item()
    assert len(set(draws.values())) == 4


@pytest.mark.parametrize(("precision", "computes_in"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_jobs_precision_is_that_of_the_arithmetic(precision: str, computes_in: torch.dtype) -> None:
    forget_precision()
    accelerator = accelerator_for(plan(precision=precision))
    layer = torch.nn.Linear(2, 2, device=accelerator.device)
    with accelerator.autocast():
        assert layer(torch.ones(1, 2, device=accelerator.device)).dtype is computes_in
    assert layer.weight.dtype is torch.float32


def test_a_scaler_of_gradients_is_not_kept() -> None:
    assert accelerator_for(plan()) is not accelerator_for(plan())


@without_gpu
def test_float16_needs_a_gpu() -> None:
    with pytest.raises(TrainerError, match="a trainer sees no GPU here for it") as caught:
        accelerator_for(plan(precision="float16"))
    assert caught.value.hint == "say `precision: bfloat16` or `float32` under `training` in the job"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU")
def test_float16_on_a_gpu_scales_gradients() -> None:
    forget_precision()
    accelerator = accelerator_for(plan(precision="float16"))
    assert accelerator.device.type == "cuda"
    assert accelerator.scaler is not None
