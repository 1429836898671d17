# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloister.training.survival import SurvivalTrainer, negative_partial_likelihood
from cloister.training.tasks import trainer_for

from ..jobs.tables import job
from .tables import FEATURES, described, first_weights, setup_of, stays, write_view

TRAIN, VALIDATION = stays(300), stays(150, seed=1)


def quietly(_step: int, _steps: int) -> None:
    pass


def trainer(folder: Path, validation: pa.Table = VALIDATION, **training: object) -> SurvivalTrainer:
    the_job = job("survival", features=FEATURES, architecture={"mlp": {}}, **training)
    statistics = described(TRAIN)
    made = trainer_for(setup_of(the_job, write_view(folder / "view", TRAIN, validation), statistics))
    assert isinstance(made, SurvivalTrainer)
    made.load_adapter(first_weights(the_job, statistics))
    return made


def likelihood(risks: list[float], times: list[float], events: list[bool]) -> float:
    tensors = (torch.tensor(risks, dtype=torch.float64), torch.tensor(times, dtype=torch.float64), torch.tensor(events))
    return float(negative_partial_likelihood(*tensors))


def by_the_book(risks: list[float], times: list[float], events: list[bool]) -> float:
    """Efron's formula, written out event by event."""
    total = 0.0
    for time in sorted(set(times)):
        tied = [index for index, each in enumerate(times) if each == time and events[index]]
        at_risk = sum(math.exp(risk) for risk, each in zip(risks, times, strict=True) if each >= time)
        tied_sum = sum(math.exp(risks[index]) for index in tied)
        for number, index in enumerate(tied):
            total += math.log(at_risk - number / len(tied) * tied_sum) - risks[index]
    return total / sum(events)


def test_against_figures_worked_out_by_hand() -> None:
    # Equal risks, no ties: log 3 + log 2 + log 1.
    assert likelihood([0, 0, 0], [1, 2, 3], [True, True, True]) == pytest.approx(math.log(6) / 3)
    # Two of three at once: log 3 + log(3 - 2 / 2).
    assert likelihood([0, 0, 0], [1, 1, 2], [True, True, False]) == pytest.approx((math.log(3) + math.log(2)) / 2)
    # Whoever is lost at the time of an event was still at risk.
    assert likelihood([0, 5], [1, 1], [True, False]) == pytest.approx(math.log(1 + math.exp(5)))
    assert likelihood([1, 2], [1, 2], [False, False]) == 0


@given(
    st.lists(st.tuples(st.floats(-8, 8), st.integers(0, 4), st.booleans()), min_size=1, max_size=12).filter(
        lambda records: any(event for _, _, event in records)
    )
)
def test_is_efrons_formula(records: list[tuple[float, int, bool]]) -> None:
    risks, times, events = (list(column) for column in zip(*records, strict=True))
    assert likelihood(risks, times, events) == pytest.approx(by_the_book(risks, times, events), rel=1e-6, abs=1e-9)


def test_does_not_depend_on_the_baseline_nor_overflow() -> None:
    times, events = [1, 1, 2, 3, 3], [True, True, False, True, True]
    base = likelihood([0.1, -0.4, 2, 1, 0], times, events)
    assert likelihood([1000.1, 999.6, 1002, 1001, 1000], times, events) == pytest.approx(base)
    risks = torch.tensor([500.0, -500.0, 0.0], requires_grad=True)
    loss = negative_partial_likelihood(risks, torch.tensor([2.0, 1.0, 1.0]), torch.tensor([True, True, True]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(float(loss.detach()))
    assert risks.grad is not None
    assert bool(risks.grad.isfinite().all())


def test_gradient_is_that_of_small_differences() -> None:
    torch.manual_seed(0)
    times, events = torch.tensor([1.0, 1, 2, 3, 3, 4]), torch.tensor([True, True, False, True, True, False])
    risks = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: negative_partial_likelihood(each, times, events), (risks,))


@pytest.mark.parametrize("batch_size", [300, 32])
def test_learns_who_is_at_risk(tmp_path: Path, batch_size: int) -> None:
    one = trainer(tmp_path, steps=150, batch_size=batch_size, learning_rate=0.05)
    before = one.evaluate()
    one.train(1, quietly)
    after = one.evaluate()
    assert set(after) == {"c_index", "loss"}
    assert after["c_index"] > 0.75 > before["c_index"]
    assert after["loss"] < before["loss"]


def test_full_batches_find_the_maximum_of_the_likelihood(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=400, batch_size=300, learning_rate=0.05)
    one.train(1, quietly)
    least = float(one.loss(one.predict(one.training), one.training.targets))
    weight = one.model.head.weight  # type: ignore[union-attr]
    for column, step in itertools.product(range(weight.shape[1]), (-0.05, 0.05)):
        with torch.no_grad():
            weight[0, column] += step  # type: ignore[index,operator]
        assert float(one.loss(one.predict(one.training), one.training.targets)) > least - 1e-4
        with torch.no_grad():
            weight[0, column] -= step  # type: ignore[index,operator]


def test_without_events_nothing_is_measured_and_batches_without_any_do_no_harm(tmp_path: Path) -> None:
    nobody = VALIDATION.set_column(7, "died", pa.array([False] * 150))
    assert trainer(tmp_path, validation=nobody).evaluate() == {}
    few = trainer(tmp_path, steps=30, batch_size=2)
    done = few.train(1, quietly)
    assert np.isfinite(done.loss)
