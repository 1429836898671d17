# SPDX-License-Identifier: Apache-2.0
"""One of the two low-rank factors stays as it came for a round, see `cloister.jobs.live_tensors.frozen_factor`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cloister.errors import TrainerError
from cloister.jobs.live_tensors import Factor

_MODULES = {"a": ".lora_A.", "b": ".lora_B."}


@contextmanager
def without_training(model: torch.nn.Module, frozen: Factor | None) -> Iterator[None]:
    """Take the factor ``frozen`` of ``model`` out of what is trained, for as long as the context lasts.

    It has no gradient and no place in the optimiser, whose weight decay would change it as well.

    Raises:
        TrainerError: where ``model`` trains no such factor.
    """
    if frozen is None:
        yield
        return
    held = [
        parameter
        for name, parameter in model.named_parameters()
        if _MODULES[frozen] in f".{name}" and parameter.requires_grad
    ]
    if not held:
        raise TrainerError("the round leaves a low-rank factor as it is, and the network trains no such factor")
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
