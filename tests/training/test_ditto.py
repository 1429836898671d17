# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from cloister.jobs.aggregation import ClientRule, Ditto
from cloister.training.client_rules import train_by
from cloister.training.exchange import Tensors
from cloister.training.loop import Correction
from cloister.training.site_tensors import SiteTensors

from .lines import exchange, layer, plan, quietly, runner, values, written_out


def copy(weight: float, bias: float) -> Tensors:
    return {"weight": torch.full((1, 1), weight), "bias": torch.full((1,), bias)}


def plainly(tensors: Tensors | None) -> list[float]:
    assert tensors is not None
    return [tensors["weight"].item(), tensors["bias"].item()]


def rule(strength: float) -> ClientRule:
    return ClientRule(ditto=Ditto(strength=strength))


@pytest.mark.parametrize("strength", [0.1, 5.0])
@pytest.mark.parametrize("start", [None, (1.5, 0.7)])
def test_a_round_is_that_of_the_paper(strength: float, start: tuple[float, float] | None) -> None:
    expected, own = written_out(layer()), layer(*start) if start else layer()
    came = [each.detach().clone() for each in layer().parameters()]

    def penalty() -> torch.Tensor:
        pairs = zip(own.parameters(), came, strict=True)
        return strength / 2 * sum((((now - then) ** 2).sum() for now, then in pairs), torch.zeros(()))

    written_out(own, penalty=penalty)
    model, beside = layer(), SiteTensors(copy=copy(*start) if start else None)
    done = train_by(rule(strength), exchange(model), beside, runner(model), quietly)
    assert values(model) == pytest.approx(values(expected), abs=1e-6)
    assert plainly(beside.copy) == pytest.approx(values(own), abs=1e-6)
    assert done == runner(layer())(Correction(), quietly)  # what is told is of the shared network


def test_without_a_pull_it_is_training_at_the_site_alone() -> None:
    local, beside = layer(), SiteTensors()
    for shared in ((0.3, -0.2), (2.0, 2.0), (-1.0, 0.0)):
        runner(local)(Correction(), quietly)
        model = layer(*shared)
        train_by(rule(1e-9), exchange(model), beside, runner(model), quietly)
    assert plainly(beside.copy) == pytest.approx(values(local), abs=1e-5)


def test_a_strong_pull_leads_to_the_shared_weights_as_they_came() -> None:
    model, beside = layer(0.5, 0.5), SiteTensors(copy=copy(3.0, -2.0))
    train_by(rule(100.0), exchange(model), beside, runner(model, plan(steps=300)), quietly)
    assert plainly(beside.copy) == pytest.approx([0.5, 0.5], abs=0.1)


def test_steps_of_both_are_told() -> None:
    told: list[tuple[int, int]] = []
    model = layer()
    train_by(rule(1.0), exchange(model), SiteTensors(), runner(model), lambda step, steps: told.append((step, steps)))
    assert told == [(step, 14) for step in range(1, 15)]
