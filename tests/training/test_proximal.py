# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from cloister.jobs.aggregation import ClientRule, FedProx
from cloister.training.client_rules import train_by
from cloister.training.proximal import Pull, values_of
from cloister.training.site_tensors import SiteTensors

from .lines import exchange, layer, plan, quietly, runner, values, written_out


def trained(mu: float) -> list[float]:
    model = layer()
    train_by(ClientRule(fedprox=FedProx(mu=mu)), exchange(model), SiteTensors(), runner(model), quietly)
    return values(model)


@pytest.mark.parametrize("mu", [0.1, 1.0, 20.0])
def test_steps_are_those_with_the_penalty_in_the_loss(mu: float) -> None:
    plain = layer()
    start = [each.detach().clone() for each in plain.parameters()]

    def penalty() -> torch.Tensor:
        pairs = zip(plain.parameters(), start, strict=True)
        return mu / 2 * sum((((now - then) ** 2).sum() for now, then in pairs), torch.zeros(()))

    written_out(plain, penalty=penalty)
    assert trained(mu) == pytest.approx(values(plain), abs=1e-6)


def test_a_strong_pull_keeps_the_weights_where_they_were() -> None:
    def moved(mu: float) -> float:
        return max(abs(now - then) for now, then in zip(trained(mu), values(layer()), strict=True))

    assert moved(100.0) < 0.08 < moved(1.0) < moved(1e-6)


def test_the_loss_that_is_told_is_of_the_records_alone() -> None:
    losses = []
    for mu in (1e-6, 100.0):
        model = layer()
        parameters = list(model.parameters())
        away = [each + 1000 for each in values_of(parameters)]
        losses.append(runner(model, plan(steps=1))(Pull(parameters, away, mu), quietly).loss)
    assert losses[0] == losses[1]


def test_what_takes_no_gradient_stays() -> None:
    model = layer()
    model.bias.requires_grad_(False)
    pull = Pull(list(model.parameters()), [torch.zeros(1, 1), torch.ones(1)], 2.0)
    pull.correct()
    assert model.weight.grad is not None
    assert model.weight.grad.item() == pytest.approx(0.6)
    assert model.bias.grad is None
