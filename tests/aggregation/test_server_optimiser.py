# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cloister.aggregation.adaptive import Adagrad, Adam, Yogi
from cloister.aggregation.nesterov import Nesterov
from cloister.aggregation.optimiser_state import FileState, State
from cloister.aggregation.server_optimiser import Added, ServerOptimiser
from cloister.errors import JobError
from cloister.vectors import Vector
from tests.aggregation.memory_state import MemoryState

Make = Callable[[State], ServerOptimiser]


def nesterov(state: State) -> ServerOptimiser:
    return Nesterov(state, learning_rate=0.7, momentum=0.6)


def adam(state: State) -> ServerOptimiser:
    return Adam(state, learning_rate=0.01, floor=1e-3, beta1=0.9, beta2=0.99)


def yogi(state: State) -> ServerOptimiser:
    return Yogi(state, learning_rate=0.01, floor=1e-3, beta1=0.9, beta2=0.99)


def adagrad(state: State) -> ServerOptimiser:
    return Adagrad(state, learning_rate=0.01, floor=1e-3)


every_optimiser = pytest.mark.parametrize("make", [Added, nesterov, adam, yogi, adagrad])


def updates(rounds: int, values: int = 50) -> list[Vector]:
    random = np.random.Generator(np.random.PCG64(1))
    return [(random.normal(size=values) * 10.0 ** random.integers(-5, 3)).astype(np.float32) for _ in range(rounds)]


def steps(optimiser: ServerOptimiser, given: list[Vector]) -> list[Vector]:
    found = []
    for update in given:
        found.append(optimiser.step(0, update))
        optimiser.commit()
    return found


def test_without_one_the_update_is_added_as_it_is() -> None:
    for found, update in zip(steps(Added(MemoryState()), updates(3)), updates(3), strict=True):
        np.testing.assert_array_equal(found, update)


@pytest.mark.slow  # torch.optim takes seconds to import
def test_nesterov_is_torchs_sgd_on_the_negative_update() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([weights], lr=0.7, momentum=0.6, nesterov=True)
    for found, update in zip(steps(nesterov(MemoryState()), updates(8)), updates(8), strict=True):
        before = weights.detach().clone()
        weights.grad = -torch.from_numpy(update).double()
        theirs.step()
        moved = (weights.detach() - before).numpy()
        # Only what is kept is rounded to float32.
        np.testing.assert_allclose(found, moved, rtol=1e-6, atol=1e-6 * np.abs(moved).max())


@pytest.mark.parametrize(
    ("make", "second"),
    [
        (adam, lambda v, d: 0.99 * v + 0.01 * d * d),
        (yogi, lambda v, d: v - 0.01 * d * d * (1 if v > d * d else -1 if v < d * d else 0)),
        (adagrad, lambda v, d: v + d * d),
    ],
)
def test_the_adaptive_ones_are_what_the_paper_writes_down(make: Make, second: Callable[[float, float], float]) -> None:
    """Algorithm 2 of https://arxiv.org/abs/2003.00295, value by value in Python's own floats."""
    found = steps(make(MemoryState()), updates(8))
    beta1 = 0.0 if make is adagrad else 0.9
    for index in range(50):
        m, v = 0.0, 1e-3**2
        for round_, update in enumerate(updates(8)):
            d = float(update[index])
            m = beta1 * m + (1 - beta1) * d
            v = second(v, d)
            assert found[round_][index] == pytest.approx(0.01 * m / (v**0.5 + 1e-3), rel=3e-6)


@every_optimiser
def test_blocks_do_not_meet(make: Make) -> None:
    alone = steps(make(MemoryState()), updates(4))
    beside = make(MemoryState())
    for update, expected in zip(updates(4), alone, strict=True):
        beside.step(7, update[::-1] * np.float32(1e6))
        np.testing.assert_array_equal(beside.step(0, update), expected)
        beside.commit()


@every_optimiser
def test_a_server_that_begins_anew_goes_on_where_it_was(make: Make, tmp_path: Path) -> None:
    whole = steps(make(MemoryState()), updates(5))
    for update, expected in zip(updates(5), whole, strict=True):
        np.testing.assert_array_equal(steps(make(FileState(tmp_path / "state")), [update])[0], expected)


@every_optimiser
def test_a_round_that_was_not_ended_counts_as_none(make: Make, tmp_path: Path) -> None:
    whole = steps(make(MemoryState()), updates(2))
    optimiser = make(FileState(tmp_path / "state"))
    np.testing.assert_array_equal(steps(optimiser, updates(1))[0], whole[0])
    optimiser.step(0, updates(1)[0] * 99)
    np.testing.assert_array_equal(optimiser.step(0, updates(2)[1]), whole[1])


@every_optimiser
@pytest.mark.parametrize("value", [np.finfo(np.float32).max, 1e30, 1e-45, 0.0])
def test_no_finite_update_makes_a_step_that_is_not(make: Make, value: float) -> None:
    given = [np.array([value, -value, 1, 0], np.float32)] * 6
    for found in steps(make(MemoryState()), given):
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


@every_optimiser
def test_the_update_is_left_as_it_is(make: Make) -> None:
    optimiser = make(MemoryState())
    for update in updates(3):
        before = update.copy()
        optimiser.step(0, update)
        optimiser.commit()
        np.testing.assert_array_equal(update, before)


@pytest.mark.parametrize("make", [nesterov, adam, yogi, adagrad])
def test_a_block_of_another_size_is_refused(make: Make) -> None:
    optimiser = make(MemoryState())
    steps(optimiser, updates(1, values=50))
    with pytest.raises(JobError, match="50 values instead of 49"):
        optimiser.step(0, updates(1, values=49)[0])


def test_the_second_moment_of_yogi_shrinks_slower_than_that_of_adam() -> None:
    given = [np.full(1, 100, np.float32), *[np.full(1, 1e-3, np.float32)] * 30]
    slow, fast = steps(yogi(MemoryState()), given)[-1], steps(adam(MemoryState()), given)[-1]
    assert abs(slow[0]) < abs(fast[0])
