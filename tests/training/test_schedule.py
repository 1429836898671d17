# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from cloister.jobs import initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.training.schedule import rate_share
from cloister.training.tabular import TabularTrainer

from ..jobs.tables import job
from . import tables


@pytest.mark.parametrize(("rounds", "shares"), [(1, [1]), (2, [1, 0.5]), (4, [1, 0.75, 0.5, 0.25])])
def test_a_linear_one_falls_by_as_much_in_each_round(rounds: int, shares: list[float]) -> None:
    assert [rate_share("linear", number, rounds) for number in range(1, rounds + 1)] == shares
    assert {rate_share("constant", number, rounds) for number in range(1, rounds + 1)} == {1.0}


@pytest.mark.parametrize(("number", "share"), [(1, 1.0), (2, 0.5)])
def test_a_round_is_trained_with_what_is_left_of_the_rates(tmp_path: Path, number: int, share: float) -> None:
    train = tables.stays(80, seed=1)
    view, described = tables.write_view(tmp_path, train, train), tables.described(train)

    def learnt(**training: object) -> Arrays:
        the_job = job(features=tables.FEATURES, steps=5, **training)
        assert the_job.federation.rounds == 2
        trainer = TabularTrainer(tables.setup_of(the_job, view, described))
        first = initial_adapter(layout_of(the_job, statistics=described), 0)
        trainer.load_adapter(safetensors.numpy.save(first))
        trainer.train(number, lambda _step, _steps: None)
        found: Arrays = safetensors.numpy.load(trainer.adapter())
        return found

    falling = learnt(schedule="linear", learning_rate=0.02, head_learning_rate=0.08)
    same = learnt(learning_rate=0.02 * share, head_learning_rate=0.08 * share)
    assert all(np.array_equal(each, same[name]) for name, each in falling.items())
