# SPDX-License-Identifier: Apache-2.0
"""One round of training, which is the same for every task: the task says what a batch is and what is minimised.

The loop is written out rather than taken from `transformers.Trainer`, which would write checkpoints, schedule the
learning rate over a horizon that a federated round does not have, and keep optimiser state between rounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch

from cloister.errors import TrainerError
from cloister.jobs import Training
from cloister.training.interface import Report, Round
from cloister.training.order import Indices
from cloister.training.placement import accelerator_for, seed_round

_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are trained alike.

    Attributes:
        parameters: that gradients flow to.
        learning_rate: AdamW's.
        weight_decay: AdamW's.
    """

    parameters: list[torch.nn.Parameter]
    learning_rate: float
    weight_decay: float


def parameter_groups(
    named: Iterable[tuple[str, torch.nn.Parameter]],
    plan: Training,
    is_head: Callable[[str], bool] = lambda _: False,
    share: float = 1.0,
) -> list[ParameterGroup]:
    """The trainable ones among ``named`` by rate and decay.

    What has one dimension, biases and the scales of normalising layers, does not decay.

    Args:
        named: parameters by name.
        plan: gives rates and decay.
        is_head: whether a parameter of this name has the head's rate.
        share: of the rates that is left in this round, see `cloister.training.schedule`.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            rate = plan.head_learning_rate if is_head(name) else None
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share * (rate or plan.learning_rate), decay), []).append(parameter)
    return [ParameterGroup(each, rate, decay) for (rate, decay), each in groups.items()]


class Correction:
    """What is done to gradients before the optimiser's step: nothing here, and something in what derives from it.

    Attributes:
        clips: whether gradients are clipped after it.
    """

    clips = True

    def correct(self) -> None:
        """Change the gradients of the loss."""


def train_round(  # noqa: PLR0913 - what a round consists of, each by its name
    plan: Training,
    number: int,
    model: torch.nn.Module,
    *,
    groups: Iterable[ParameterGroup],
    records: int,
    order: Iterator[Indices],
    loss: Callable[[Indices], torch.Tensor],
    report: Report,
    correction: Correction | None = None,
) -> Round:
    """Train ``model`` for one round with a new AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101).

    Args:
        plan: how many steps, in which precision.
        number: of the round; with the job's seed it decides what is drawn.
        model: is put into training mode.
        groups: its parameters that are trained.
        records: how many there are to train on; more than none.
        order: indices of records in batches, at least as many batches as there are steps.
        loss: the mean over the records at those indices, a scalar in nats or the task's unit, with its gradient.
        report: told after every step.
        correction: of the gradients; none where not given.

    Returns:
        The mean loss over the records as they were trained on, without what a correction adds to it, and how many
        different ones those were.

    Raises:
        TrainerError: where the loss is no longer a number.
    """
    per_epoch = -(-records // plan.batch_size)
    steps = plan.steps or per_epoch * (plan.epochs or 1)
    accelerator = accelerator_for(plan)
    seed_round(plan, number)
    optimiser = torch.optim.AdamW(
        [{"params": g.parameters, "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups]
    )
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    prepared = accelerator.prepare(optimiser)
    correcting = correction or Correction()
    model.train()
    total, trained, used = 0.0, 0, np.zeros(records, np.bool_)
    for step, chosen in enumerate(itertools.islice(order, steps), start=1):
        with accelerator.autocast():
            mean = loss(chosen)
        accelerator.backward(mean)
        accelerator.unscale_gradients()
        correcting.correct()
        if correcting.clips:
            torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        prepared.step()
        prepared.zero_grad(set_to_none=True)
        total += finite(mean.item()) * len(chosen)
        trained += len(chosen)
        used[chosen] = True
        report(step, steps)
    return Round(total / trained, int(used.sum()))


def finite(value: float) -> float:
    """``value`` itself.

    Raises:
        TrainerError: where it is infinite or no number.
    """
    if not isfinite(value):
        raise TrainerError("the loss is no longer a finite number")
    return value
