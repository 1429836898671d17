# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Job, Task
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary
from cloister.jobs.tabular_inputs import inputs_of
from cloister.training.tabular_records import TabularRecords, read_tabular_records

from ..jobs.tables import job

STATISTICS = FeatureStatistics(
    records=40,
    features={
        "age": NumberSummary(present=30, missing=10, mean=50.0, variance=100.0),
        "visits": NumberSummary(present=0, missing=40),
        "smoker": CategorySummary(present=40, missing=0, counts={"false": 25, "true": 15}),
        "ward": CategorySummary(present=40, missing=0, counts={"east": 30, "north": None, "west": 10}),
        "stay": NumberSummary(present=40, missing=0, mean=7.0, variance=4.0),
    },
)
CELLS = {
    "age": pa.array([60.0, None, 50.0, 1e30]),
    "visits": pa.array([3, 900, None, 4], pa.int64()),
    "smoker": pa.array([True, False, None, True]),
    "ward": pa.array(["west", None, "north", "east"]),
    "ill": pa.array(["yes", "no", "no", "yes"]),
    "stay": pa.array([9.0, 7.0, 3.0, 7.0]),
    "days": pa.array([3, 4, 5, 6], pa.int64()),
    "died": pa.array([True, False, False, True]),
}


def read(folder: Path, the_job: Job, **changed: pa.Array) -> TabularRecords:
    pyarrow.parquet.write_table(pa.table({**CELLS, **changed}), folder / "train.parquet")
    return read_tabular_records(
        str(folder),
        "train.parquet",
        inputs=inputs_of(the_job.dataset.features, STATISTICS),
        task=the_job.task,
        dataset=the_job.dataset,
        statistics=STATISTICS,
    )


FEATURES = ("smoker", "visits", "ward", "age")


def test_cells_become_what_the_network_is_given(tmp_path: Path) -> None:
    records = read(tmp_path, job(features=FEATURES))
    rows = records.rows
    # Visits, of which nothing is told, then age: standardised, a missing one 0, and none farther than 100 deviations.
    assert rows.numbers.tolist() == [[0, 1], [0, 0], [0, 0], [0, 100]]
    assert rows.missing.tolist() == [[1, 0], [1, 1], [1, 0], [1, 0]]
    # Smoker has slots 0 to 3: false, true, other, missing; ward 4 to 7: east, west, other, missing.
    assert rows.slots.tolist() == [[1, 5], [0, 7], [3, 6], [1, 4]]
    assert rows.numbers.dtype == rows.missing.dtype == torch.float32
    assert records.targets.tolist() == [1, 0, 0, 1]


def test_a_number_to_predict_is_standardised(tmp_path: Path) -> None:
    assert read(tmp_path, job("tabular-regression", features=("age",))).targets.tolist() == [1, 0, -2, 0]


def test_survival_has_time_and_event(tmp_path: Path) -> None:
    assert read(tmp_path, job("survival", features=("age",))).targets.tolist() == [[3, 1], [4, 0], [5, 0], [6, 1]]


@pytest.mark.parametrize(
    ("task", "changed", "message"),
    [
        ("tabular-classification", {"ill": ["yes", "secret", "no", "no"]}, "row 2 .* column `ill` holds a class"),
        ("tabular-classification", {"ill": ["yes", None, "no", "no"]}, "row 2 .* column `ill` is empty"),
        ("tabular-regression", {"stay": [1.0, 2.0, None, 3.0]}, "row 3 .* column `stay` is empty"),
        ("survival", {"died": [True, None, True, False]}, "row 2 .* column `died` is empty"),
    ],
)
def test_refuses_records_without_a_target_and_quotes_none(
    tmp_path: Path, task: str, changed: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(RecordsError, match=message) as refused:
        read(tmp_path, job(task, features=("age",)), **{name: pa.array(cells) for name, cells in changed.items()})
    assert "secret" not in str(refused.value)


def test_refuses_another_task(tmp_path: Path) -> None:
    the_job = job(features=("age",)).model_copy(update={"task": Task.IMAGE_CLASSIFICATION})
    with pytest.raises(TrainerError, match="is none on columns"):
        read(tmp_path, the_job)


def test_batches_hold_every_record_once_per_pass(tmp_path: Path) -> None:
    records = read(tmp_path, job(features=("age",)))
    batches = records.shuffled(3, (1, 2))
    passes = [np.concatenate([next(batches), next(batches)]).tolist() for _ in range(6)]
    assert all(sorted(each) == [0, 1, 2, 3] for each in passes)
    assert len({tuple(each) for each in passes}) > 1
    again = records.shuffled(3, (1, 2))
    assert np.concatenate([next(again), next(again)]).tolist() == passes[0]
    assert [each.tolist() for each in records.in_order(3)] == [[0, 1, 2], [3]]
    rows, targets = records.batch(np.array([3, 0]), torch.device("cpu"))
    assert (rows.numbers.tolist(), targets.tolist()) == ([[100], [1]], [1, 1])


def test_an_empty_file_gives_no_records(tmp_path: Path) -> None:
    for task in ("tabular-classification", "tabular-regression", "survival"):
        empty = {name: array.slice(0, 0) for name, array in CELLS.items()}
        assert len(read(tmp_path, job(task, features=FEATURES), **empty)) == 0
