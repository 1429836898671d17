# SPDX-License-Identifier: Apache-2.0
"""One round on a network of a single layer, against the same steps written with PyTorch alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cloister.errors import TrainerError
from cloister.jobs import Training
from cloister.training.interface import Round
from cloister.training.loop import finite, parameter_groups, train_round
from cloister.training.order import Indices

POINTS = torch.linspace(-1, 1, 10).reshape(10, 1)
TRUTH = 3 * POINTS + 1


def plan(**changes: object) -> Training:
    return Training.model_validate({"steps": 5, "batch_size": 4, "learning_rate": 0.1, **changes})


def layer() -> torch.nn.Linear:
    torch.manual_seed(3)
    return torch.nn.Linear(1, 1)


def batches() -> Iterator[Indices]:
    return itertools.cycle([np.arange(0, 4), np.arange(4, 8), np.arange(8, 10)])


def run(model: torch.nn.Linear, the_plan: Training, told: list[tuple[int, int]] | None = None) -> Round:
    return train_round(
        the_plan,
        1,
        model,
        groups=parameter_groups(model.named_parameters(), the_plan),
        records=10,
        order=batches(),
        loss=lambda chosen: torch.nn.functional.mse_loss(model(POINTS[chosen]), TRUTH[chosen]),
        report=lambda step, steps: None if told is None else told.append((step, steps)),
    )


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_steps_are_those_of_adamw_with_clipped_gradients(decay: float) -> None:
    ours, plain = layer(), layer()
    optimiser = torch.optim.AdamW(
        [{"params": [plain.weight], "weight_decay": decay}, {"params": [plain.bias], "weight_decay": 0.0}], lr=0.1
    )
    losses = []
    for chosen in itertools.islice(batches(), 5):
        loss = torch.nn.functional.mse_loss(plain(POINTS[chosen]), TRUTH[chosen])
        losses.append((loss.item(), len(chosen)))
        optimiser.zero_grad()
        loss.backward()
        norm = math.sqrt(float(plain.weight.grad**2 + plain.bias.grad**2))
        for parameter in plain.parameters():
            parameter.grad *= min(1.0, 1.0 / (norm + 1e-6))
        optimiser.step()
    done = run(ours, plan(weight_decay=decay))
    assert ours.weight.item() == pytest.approx(plain.weight.item())
    assert ours.bias.item() == pytest.approx(plain.bias.item())
    assert done.loss == pytest.approx(sum(loss * size for loss, size in losses) / sum(size for _, size in losses))
    assert done.records == 10


def test_an_optimiser_does_not_outlive_its_round() -> None:
    one, other = layer(), layer()
    run(one, plan())
    between = one.state_dict()
    other.load_state_dict(between)
    assert run(one, plan()) == run(other, plan())
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("changes", "steps", "records"),
    [({"steps": 1}, 1, 4), ({"steps": 2}, 2, 8), ({"steps": None, "epochs": 2}, 6, 10)],
)
def test_counts_steps_and_different_records(changes: dict[str, int | None], steps: int, records: int) -> None:
    told: list[tuple[int, int]] = []
    assert run(layer(), plan(**changes), told).records == records
    assert told == [(step, steps) for step in range(1, steps + 1)]


def test_the_round_decides_what_is_drawn() -> None:
    draws = []
    for number in (1, 1, 2):
        the_plan, model = plan(steps=1), layer()

        def loss(_: Indices, model: torch.nn.Linear = model) -> torch.Tensor:
            draws.append(torch.rand(1).item())
            return model.weight.sum()

        train_round(
            the_plan,
            number,
            model,
            groups=parameter_groups(model.named_parameters(), the_plan),
            records=10,
            order=batches(),
            loss=loss,
            report=lambda *_: None,
        )
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(value: float) -> None:
    model = layer()
    with torch.no_grad():
        model.weight.fill_(value)
    with pytest.raises(TrainerError, match="no longer a finite number"):
        run(model, plan())
    with pytest.raises(TrainerError, match="no longer a finite number"):
        finite(value)


def test_groups_by_rate_and_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 2))
    model[0].bias.requires_grad_(requires_grad=False)
    the_plan = plan(weight_decay=0.1, head_learning_rate=0.5)
    groups = parameter_groups(model.named_parameters(), the_plan, lambda name: name.startswith("2."))
    assert {(each.learning_rate, each.weight_decay): len(each.parameters) for each in groups} == {
        (0.1, 0.1): 1,
        (0.1, 0.0): 2,
        (0.5, 0.1): 1,
        (0.5, 0.0): 1,
    }
    without = parameter_groups(model.named_parameters(), plan(), lambda name: name.startswith("2."))
    assert {each.learning_rate for each in without} == {0.1}
