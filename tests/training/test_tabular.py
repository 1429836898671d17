# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Job
from cloister.messages import Setup
from cloister.training.tabular import TabularTrainer
from cloister.training.tasks import trainer_for

from ..jobs.tables import job
from .tables import FEATURES, described, first_weights, setup_of, stays, write_view

NETWORKS: list[dict[str, Any]] = [{"mlp": {"hidden": [16]}}, {"ft_transformer": {"width": 8, "layers": 1, "heads": 2}}]
TRAIN, VALIDATION = stays(300), stays(150, seed=1)


def quietly(_step: int, _steps: int) -> None:
    pass


def trainer(
    folder: Path, the_job: Job, *, train: pa.Table = TRAIN, validation: pa.Table = VALIDATION
) -> TabularTrainer:
    statistics = described(TRAIN)
    made = trainer_for(setup_of(the_job, write_view(folder / "view", train, validation), statistics))
    assert isinstance(made, TabularTrainer)
    made.load_adapter(first_weights(the_job, statistics))
    return made


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda each: next(iter(each)))
def test_learns_classes(tmp_path: Path, architecture: dict[str, Any]) -> None:
    one = trainer(tmp_path, job(features=FEATURES, architecture=architecture, steps=150, batch_size=32))
    before = one.evaluate()
    done = one.train(1, quietly)
    after = one.evaluate()
    assert set(after) == {"accuracy", "macro_f1", "auc", "loss"}
    assert after["auc"] > 0.9 > before["auc"]
    assert after["accuracy"] > 0.85
    assert after["loss"] < 0.4 < before["loss"]
    assert done.records == 300


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda each: next(iter(each)))
def test_learns_numbers_whatever_their_unit(tmp_path: Path, architecture: dict[str, Any]) -> None:
    one = trainer(
        tmp_path, job("tabular-regression", features=FEATURES, architecture=architecture, steps=200, batch_size=32)
    )
    before = one.evaluate()
    one.train(1, quietly)
    after = one.evaluate()
    assert set(after) == {"loss", "rmse", "mae", "r2"}
    assert after["r2"] > 0.75 > before["r2"]
    assert 100 < after["mae"] < after["rmse"] < 500  # of a number around 5000, with a noise of 100
    scale = float(np.std(TRAIN["stay"].to_numpy()))
    assert after["rmse"] == pytest.approx(after["loss"] ** 0.5 * scale, rel=1e-4)


def test_same_seed_same_bytes_and_another_round_another_order(tmp_path: Path) -> None:
    the_job = job(features=FEATURES, architecture={"mlp": {"hidden": [4], "dropout": 0.3}}, steps=5)
    start = first_weights(the_job, described(TRAIN))
    one, results = trainer(tmp_path, the_job), []
    for number in (1, 1, 2):
        one.load_adapter(start)
        one.train(number, quietly)
        results.append(one.adapter())
    other = trainer(tmp_path, the_job)
    other.train(1, quietly)
    assert results[0] == results[1] == other.adapter()
    assert results[0] != results[2]


def test_gives_back_what_it_was_given(tmp_path: Path) -> None:
    the_job = job(features=FEATURES)
    start = first_weights(the_job, described(TRAIN))
    tensors = safetensors.numpy.load(trainer(tmp_path, the_job).adapter())
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in safetensors.numpy.load(start).items()
    }


def test_head_has_its_own_rate(tmp_path: Path) -> None:
    the_job = job(features=FEATURES, learning_rate=1e-9, head_learning_rate=0.1, steps=3)
    one = trainer(tmp_path, the_job)
    before = safetensors.numpy.load(one.adapter())
    one.train(1, quietly)
    after = safetensors.numpy.load(one.adapter())
    moved = {name: float(abs(after[name] - before[name]).max()) for name in before}
    assert moved["head.weight"] > 0.1
    assert moved["layers.0.weight"] < 1e-6


@pytest.mark.parametrize(
    ("plan", "steps", "used"),
    [({"steps": 3}, 3, 48), ({"steps": None, "epochs": 2}, 38, 300), ({"steps": 40}, 40, 300)],
)
def test_counts_steps_and_different_records(tmp_path: Path, plan: dict[str, Any], steps: int, used: int) -> None:
    told: list[tuple[int, int]] = []
    done = trainer(tmp_path, job(features=FEATURES, **plan)).train(1, lambda step, of: told.append((step, of)))
    assert told == [(step, steps) for step in range(1, steps + 1)]
    assert done.records == used


def test_one_class_has_no_auc_and_one_number_no_r2(tmp_path: Path) -> None:
    table = VALIDATION.set_column(4, "ill", pa.array(["no"] * 150)).set_column(5, "stay", pa.array([5000.0] * 150))
    assert set(trainer(tmp_path, job(features=FEATURES), validation=table).evaluate()) == {
        "accuracy",
        "macro_f1",
        "loss",
    }
    regression = trainer(tmp_path, job("tabular-regression", features=FEATURES), validation=table)
    assert set(regression.evaluate()) == {"loss", "rmse", "mae"}


def test_no_validation_records_no_metrics_and_no_training_records_refused(tmp_path: Path) -> None:
    assert trainer(tmp_path, job(features=FEATURES), validation=VALIDATION.slice(0, 0)).evaluate() == {}
    with pytest.raises(RecordsError, match="no training records"):
        trainer(tmp_path, job(features=FEATURES), train=TRAIN.slice(0, 0))


def test_refuses_a_layout_that_is_not_its_own_and_other_weights(tmp_path: Path) -> None:
    the_job = job(features=FEATURES)
    one = trainer(tmp_path, the_job)
    other = first_weights(job(features=FEATURES[:2]), described(TRAIN))
    for blob in (other, b"nothing"):
        with pytest.raises(TrainerError):
            one.load_adapter(blob)
    setup: Setup = one.setup.model_copy(update={"shapes": {"head.weight": (2, 3)}})
    with pytest.raises(TrainerError, match="not those of the job"):
        TabularTrainer(setup)
    with pytest.raises(TrainerError, match="needs a description of its features"):
        TabularTrainer(one.setup.model_copy(update={"statistics": None}))


def test_predicts_in_chunks_as_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path, job(features=FEATURES))
    whole = one.evaluate()
    monkeypatch.setattr("cloister.training.tabular.EVALUATION_BATCH", 7)
    assert one.evaluate() == pytest.approx(whole, rel=1e-6)
