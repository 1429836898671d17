# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
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


def describe(folder: Path, wanted: Job, minimum: int = 2, *, swapped: bool = False) -> FeatureStatistics:
    names = ("validation", "train") if swapped else ("train", "validation")
    for name, ages in zip(names, ([1.0, 2.0, 3.0, 6.0], [100.0, None]), strict=True):
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


def test_describes_features_and_target_of_all_records(tmp_path: Path) -> None:
    described = describe(tmp_path, job(target="stay"))
    assert described.records == 6
    assert set(described.features) == {"ward", "age", "smoker", "stay"}
    assert described.features["smoker"] == CategorySummary(present=6, missing=0, counts={"false": 0, "true": 6})
    assert described.features["ward"] == CategorySummary(
        present=6, missing=0, counts={"east": 3, "west": 3, "north": 0}
    )


def test_what_trains_and_what_does_not_describe_the_same(tmp_path: Path) -> None:
    """Else one subtracted from the other would tell of the records kept for validation, however few."""
    both = {"features": ["ward", "age", "smoker", "stay"]}
    training = {"features": ["ward", "age", "smoker"], "target": "stay"}
    assert describe(tmp_path, job(**both)) == describe(tmp_path, job(**training))


def test_where_a_record_falls_changes_nothing(tmp_path: Path) -> None:
    one, two = describe(tmp_path, job()), describe(tmp_path, job(), swapped=True)
    assert one.features["ward"] == two.features["ward"]
    before, after = one.features["age"], two.features["age"]
    assert isinstance(before, NumberSummary)
    assert isinstance(after, NumberSummary)
    assert (before.present, before.missing) == (after.present, after.missing) == (4, 2)
    assert (before.mean, before.variance) == pytest.approx((after.mean, after.variance), rel=1e-12)


def test_histograms_are_over_what_is_told_to_be_present(tmp_path: Path) -> None:
    described = describe(tmp_path, job(histograms={"age": {"low": 0, "high": 10, "count": 2}}))
    assert described.records == 6
    age = described.features["age"]
    assert isinstance(age, NumberSummary)
    # One cell is missing, which would be told by itself, so another one, which is 2, counts as missing too.
    assert (age.present, age.missing, age.mean) == (4, 2, (1 + 3 + 6 + 100) / 4)
    # Of what is left two lie below 5, one below 10, and one outside, which leaves nothing that could be told.
    assert age.histogram == Histogram(edges=(0, 5, 10), counts=(None, None))
