# SPDX-License-Identifier: Apache-2.0
"""A line through points, learnt by one layer: small enough to write every step of it down with PyTorch alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch

from cloister.jobs import Training
from cloister.training.exchange import WeightExchange
from cloister.training.interface import Report, Round
from cloister.training.loop import Correction, parameter_groups, train_round
from cloister.training.order import Indices

POINTS = torch.linspace(-1, 1, 12).reshape(12, 1)
TRUTH = 3 * POINTS + 1
SHAPES = {"weight": (1, 1), "bias": (1,)}
RATE = 0.05


def plan(**changes: object) -> Training:
    return Training.model_validate({"steps": 7, "batch_size": 4, "learning_rate": RATE, **changes})


def batches() -> Iterator[Indices]:
    return itertools.cycle([np.arange(0, 4), np.arange(4, 8), np.arange(8, 12)])


def layer(weight: float = 0.3, bias: float = -0.2) -> torch.nn.Linear:
    made = torch.nn.Linear(1, 1)
    with torch.no_grad():
        made.weight.fill_(weight)
        made.bias.fill_(bias)
    return made


def values(model: torch.nn.Linear) -> list[float]:
    return [model.weight.item(), model.bias.item()]


def exchange(model: torch.nn.Linear) -> WeightExchange:
    return WeightExchange(model, SHAPES)


def runner(
    model: torch.nn.Linear, the_plan: Training | None = None, truth: torch.Tensor = TRUTH
) -> Callable[[Correction, Report], Round]:
    """One round of ``model``, as a trainer runs it."""
    how = the_plan or plan()

    def run(correction: Correction, report: Report) -> Round:
        return train_round(
            how,
            1,
            model,
            groups=parameter_groups(model.named_parameters(), how),
            records=len(POINTS),
            order=batches(),
            loss=lambda chosen: torch.nn.functional.mse_loss(model(POINTS[chosen]), truth[chosen]),
            report=report,
            correction=correction,
        )

    return run


def written_out(
    model: torch.nn.Linear,
    *,
    steps: int = 7,
    penalty: Callable[[], torch.Tensor] | None = None,
    corrected: Callable[[list[torch.Tensor]], None] | None = None,
    clipped: bool = True,
) -> torch.nn.Linear:
    """The same round with PyTorch alone: AdamW on clipped gradients of the loss and a penalty."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for chosen in itertools.islice(batches(), steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(model(POINTS[chosen]), TRUTH[chosen])
        (loss if penalty is None else loss + penalty()).backward()  # type: ignore[no-untyped-call]
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        norm = torch.cat([each.flatten() for each in gradients]).norm()
        for each in gradients:
            each.mul_(min(1.0, 1.0 / (float(norm) + 1e-6)) if clipped else 1.0)
        if corrected is not None:
            corrected(gradients)
        optimiser.step()
    return model


def quietly(_step: int, _steps: int) -> None:
    pass
