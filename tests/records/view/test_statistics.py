# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.jobs import Job
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, Histogram, NumberSummary
from cloister.records import describe_view
from cloister.silos import Dataset

DATASET = {
    "connector": {"kind": "csv", "path": "stays.csv"},
    "columns": {
        "age": {"kind": "number"},
        "smoker": {"kind": "boolean"},
        "ward": {"kind": "category", "values": ["east", "west", "north"]},
        "stay": {"kind": "integer"},
        "note": {"kind": "text"},
    },
}


def job(**dataset: object) -> Job:
    wanted = {"name": "stays", "features": ["ward", "age", "smoker"], **dataset}
    document: dict[str, object] = {"job": "stays", "purpose": "research", "dataset": wanted, "federation": {}}
    if "target" in wanted:
        document |= {
            "task": "tabular-regression",
            "architecture": {"mlp": {}},
            "method": {"full": {}},
            "training": {"steps": 1, "batch_size": 4, "learning_rate": 0.1},
            "federation": {"rounds": 1},
        }
    else:
        document |= {"task": "statistics"}
    return Job.model_validate_json(json.dumps(document))


def describe(folder: Path, wanted: Job, minimum: int = 2) -> FeatureStatistics:
    for name, ages in (("train", [1.0, 2.0, 3.0, 6.0]), ("validation", [100.0, None])):
        count = len(ages)
        table = pa.table(
            {
                "ward": pa.array(["east", "west"] * (count // 2)),
                "age": pa.array(ages, pa.float64()),
                "smoker": pa.array([True] * count),
                "stay": pa.array(range(count), pa.int64()),
            }
        )
        parquet.write_table(table, folder / f"{name}.parquet")
    return describe_view(folder, Dataset.model_validate_json(json.dumps(DATASET)), wanted, minimum)


def test_describes_features_and_target_of_the_records_to_train_on(tmp_path: Path) -> None:
    described = describe(tmp_path, job(target="stay"))
    assert described.records == 4
    assert set(described.features) == {"ward", "age", "smoker", "stay"}
    assert described.features["age"] == NumberSummary(present=4, missing=0, mean=3.0, variance=3.5)
    assert described.features["stay"] == NumberSummary(present=4, missing=0, mean=1.5, variance=1.25)
    assert described.features["smoker"] == CategorySummary(present=4, missing=0, counts={"false": 0, "true": 4})
    assert described.features["ward"] == CategorySummary(
        present=4, missing=0, counts={"east": 2, "west": 2, "north": 0}
    )


def test_a_job_that_trains_nothing_has_all_records_described(tmp_path: Path) -> None:
    described = describe(tmp_path, job(histograms={"age": {"low": 0, "high": 10, "count": 2}}))
    assert described.records == 6
    age = described.features["age"]
    assert isinstance(age, NumberSummary)
    # One cell is missing, which would be told by itself, so another one, the first, counts as missing too.
    assert (age.present, age.missing, age.mean) == (4, 2, (2 + 3 + 6 + 100) / 4)
    # Of what is left two lie below 5, one below 10, and one outside, which leaves nothing that could be told.
    assert age.histogram == Histogram(edges=(0, 5, 10), counts=(None, None))
