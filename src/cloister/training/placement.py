# SPDX-License-Identifier: Apache-2.0
"""On which device a network computes, in which precision, and that it computes the same each time.

Weights, what is exchanged, and what is measured are float32 in any case; `Training.precision` is that of the arithmetic
while training (https://docs.pytorch.org/docs/stable/amp.html), as accelerate sets it up.
"""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from cloister.errors import TrainerError
from cloister.jobs import Training
from cloister.messages import Setup

_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def settle(setup: Setup) -> torch.device:
    """Prepare this process to train the same way each time; returns the device to compute on.

    Raises:
        TrainerError: where this machine has no arithmetic of the job's precision.
    """
    # cuBLAS reads it when it is first used (https://docs.pytorch.org/docs/stable/notes/randomness.html).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(setup.threads)
    device: torch.device = accelerator_for(setup.training).device
    # On a GPU, pooling and resizing of images have no gradient that is the same each time, and would be refused.
    torch.use_deterministic_algorithms(True, warn_only=setup.imaging is not None and device.type != "cpu")
    # PyTorch lets convolutions on a GPU keep 10 of float32's 23 bits unless told otherwise, and float32 means float32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(setup.training.seed)
    return device


def accelerator_for(plan: Training) -> Accelerator:
    """A new accelerator, so that a scaler of gradients does not live on from one round to the next.

    Raises:
        TrainerError: where this machine has no arithmetic of the job's precision.
    """
    on_gpu = torch.cuda.is_available()
    if plan.precision == "float16" and not on_gpu:
        raise TrainerError(
            "the job trains in float16, and a trainer sees no GPU here for it",
            hint="say `precision: bfloat16` or `float32` under `training` in the job",
        )
    return Accelerator(cpu=not on_gpu, mixed_precision=_MIXED[plan.precision])


def seed_round(plan: Training, number: int) -> None:
    """Decide by the job's seed and the round's number what is drawn while training, such as dropout."""
    torch.manual_seed(plan.seed * 1_000_003 + number)
