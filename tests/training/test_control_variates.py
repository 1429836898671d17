# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from cloister.errors import TrainerError
from cloister.jobs.aggregation import ClientRule, Scaffold
from cloister.training.client_rules import train_by
from cloister.training.control_variates import ControlVariates
from cloister.training.exchange import Tensors
from cloister.training.loop import Correction
from cloister.training.site_tensors import SiteTensors, copies_of

from .lines import POINTS, TRUTH, exchange, layer, plan, quietly, runner, values, written_out

RULE = ClientRule(scaffold=Scaffold())


def variates(weight: float, bias: float) -> Tensors:
    return {"weight": torch.full((1, 1), weight), "bias": torch.full((1,), bias)}


def plainly(tensors: Tensors) -> list[float]:
    return [tensors["weight"].item(), tensors["bias"].item()]


def test_a_round_is_that_of_the_paper_with_adamw() -> None:
    control, own = variates(0.3, -0.4), variates(-0.2, 0.1)
    seen: list[list[torch.Tensor]] = []

    def corrected(gradients: list[torch.Tensor]) -> None:
        seen.append([each.clone() for each in gradients])
        for each, c, c_i in zip(gradients, control.values(), own.values(), strict=True):
            each.add_(c - c_i)

    expected = written_out(layer(), corrected=corrected, clipped=False)
    model, beside = layer(), SiteTensors(control=control, own_control=own)
    train_by(RULE, exchange(model), beside, runner(model), quietly)
    assert values(model) == pytest.approx(values(expected), abs=1e-6)
    mean = [float(np.mean([step[place].item() for step in seen])) for place in (0, 1)]
    assert plainly(beside.own_control) == pytest.approx(mean, abs=1e-6)
    changed = [c + (now - then) for c, now, then in zip((0.3, -0.4), mean, (-0.2, 0.1), strict=True)]
    assert plainly(beside.control) == pytest.approx(changed, abs=1e-6)


def test_with_plain_steps_it_is_option_two() -> None:
    """c_i - c + (x - y) / (K lr)."""
    rate, steps, control, own = 0.05, 9, variates(0.3, -0.4), variates(-0.2, 0.1)
    model = layer()
    before = copies_of(dict(model.named_parameters()))
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    correction = ControlVariates(exchange(model).parameters(), control, own)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(model(POINTS), TRUTH).backward()  # type: ignore[no-untyped-call]
        correction.correct()
        optimiser.step()
    after = dict(model.named_parameters())
    for name, found in correction.own().items():
        option = own[name] - control[name] + (before[name] - after[name].detach()) / (steps * rate)
        assert found.numpy() == pytest.approx(option.numpy(), abs=1e-5)


class Unclipped(Correction):
    clips = False


def test_with_one_site_it_is_plain_training() -> None:
    plain, model = layer(), layer()
    beside = SiteTensors(control=variates(0, 0), own_control=variates(0, 0))
    for _ in range(3):
        runner(plain)(Unclipped(), quietly)
        train_by(RULE, exchange(model), beside, runner(model), quietly)
        assert plainly(beside.control) == pytest.approx(plainly(beside.own_control), abs=1e-6)
    assert values(model) == pytest.approx(values(plain), abs=1e-5)


def rounds(rule: ClientRule | None) -> float:
    """Distance from the weights that are best for both of two sites, which want something else each."""
    truths = (4 * POINTS + 2, torch.where(POINTS > 0, -POINTS, 3 * POINTS) - 1)
    shared = copies_of(dict(layer(0.0, 0.0).named_parameters()))
    control = variates(0, 0)
    own = [variates(0, 0), variates(0, 0)]
    for _ in range(60):
        answers, changes = [], []
        for site, truth in enumerate(truths):
            model = layer()
            exchange(model).load(shared)
            beside = SiteTensors(control=control, own_control=own[site])
            train_by(rule, exchange(model), beside, runner(model, plan(steps=30, learning_rate=0.02), truth), quietly)
            answers.append(copies_of(exchange(model).save()))
            changes.append(beside.control)
            own[site] = beside.own_control
        shared = {name: (answers[0][name] + answers[1][name]) / 2 for name in shared}
        control = {name: (changes[0][name] + changes[1][name]) / 2 for name in control}
    design = np.column_stack([np.tile(POINTS.numpy()[:, 0], 2), np.ones(24)])
    best, *_ = np.linalg.lstsq(design, np.concatenate([each.numpy()[:, 0] for each in truths]), rcond=None)
    return float(np.linalg.norm(np.array(plainly(shared)) - best))


def test_sites_that_differ_come_closer_to_what_is_best_for_all() -> None:
    plain, corrected = rounds(None), rounds(RULE)
    assert corrected < 0.05 < 0.2 < plain


def test_what_is_not_trained_keeps_its_variate_and_what_has_none_is_left_alone() -> None:
    model = layer()
    model.bias.requires_grad_(False)
    beside = SiteTensors(control=variates(0.3, -0.4), own_control=variates(-0.2, 0.1))
    train_by(RULE, exchange(model), beside, runner(model), quietly)
    assert beside.own_control["bias"].item() == pytest.approx(0.1)
    assert beside.control["bias"].item() == pytest.approx(-0.4)
    assert beside.control["weight"].item() != pytest.approx(0.3)
    personal = layer()
    shared = {"weight": torch.zeros(1, 1)}
    correction = ControlVariates(exchange(personal).parameters(), shared, shared)
    runner(personal)(correction, quietly)
    assert set(correction.own()) == set(correction.control()) == {"weight"}


def test_a_parameter_without_a_gradient_is_corrected_too() -> None:
    model = layer()
    correction = ControlVariates(exchange(model).parameters(), variates(0.3, -0.4), variates(-0.2, 0.1))
    correction.correct()
    assert [float(each.grad) for each in model.parameters() if each.grad is not None] == pytest.approx([0.5, -0.5])
    assert plainly(correction.own()) == [0.0, 0.0]


def test_gradients_that_are_no_numbers_do_not_count() -> None:
    model = layer()
    correction = ControlVariates(exchange(model).parameters(), variates(0.3, -0.4), variates(-0.2, 0.1))
    model.weight.grad, model.bias.grad = torch.full((1, 1), torch.inf), torch.zeros(1)
    correction.correct()
    assert model.bias.grad.item() == 0.0
    assert plainly(correction.own()) == pytest.approx([-0.2, 0.1])
    assert plainly(correction.control()) == pytest.approx([0.3, -0.4])


def test_without_a_step_nothing_changes() -> None:
    correction = ControlVariates(exchange(layer()).parameters(), variates(0.3, -0.4), variates(-0.2, 0.1))
    assert plainly(correction.own()) == pytest.approx([-0.2, 0.1])
    assert plainly(correction.control()) == pytest.approx([0.3, -0.4])


def test_nothing_to_correct_is_refused() -> None:
    with pytest.raises(TrainerError, match="nothing that is trained"):
        ControlVariates(exchange(layer()).parameters(), {}, {})
