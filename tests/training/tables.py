# SPDX-License-Identifier: Apache-2.0
"""Views of invented stays, with numbers, truth values and categories of which some are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy

from cloister.jobs import Job, initial_adapter, layout_of
from cloister.jobs.statistics import FeatureStatistics
from cloister.messages import Setup
from cloister.records.view.feature_statistics import describe
from cloister.silos import ColumnKind

KINDS = {
    "age": ColumnKind.NUMBER,
    "visits": ColumnKind.INTEGER,
    "smoker": ColumnKind.BOOLEAN,
    "ward": ColumnKind.CATEGORY,
    "ill": ColumnKind.CATEGORY,
    "stay": ColumnKind.NUMBER,
    "days": ColumnKind.NUMBER,
    "died": ColumnKind.BOOLEAN,
}
FEATURES = ("age", "visits", "smoker", "ward")
WARDS = ("east", "north", "west")


def stays(count: int, seed: int = 0) -> pa.Table:
    """Stays whose illness, length, and time to death all follow from age, smoking and ward."""
    random = np.random.default_rng(seed)
    age = random.normal(60, 12, count)
    visits, smoker = random.poisson(3, count), random.random(count) < 0.4
    ward = random.choice(WARDS, count)
    risk = (age - 60) / 12 + 1.5 * smoker + np.where(ward == "west", 1.0, -0.5)
    days = random.exponential(200 * np.exp(-1.5 * risk)).round() + 1  # rounded, so that some are equal
    seen = random.exponential(300, count).round() + 1
    gone = random.random((3, count)) < 0.1
    return pa.table(
        {
            "age": pa.array(age, mask=gone[0]),
            "visits": pa.array(visits, pa.int64()),
            "smoker": pa.array(smoker, mask=gone[1]),
            "ward": pa.array(ward, mask=gone[2]),
            "ill": pa.array(np.where(risk + random.normal(0, 0.3, count) > 0.3, "yes", "no")),
            "stay": pa.array(5000 + 700 * risk + random.normal(0, 100, count)),
            "days": pa.array(np.minimum(days, seen)),
            "died": pa.array(days <= seen),
        }
    )


def write_view(folder: Path, train: pa.Table, validation: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("train", train), ("validation", validation)):
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
    return folder


def described(table: pa.Table, minimum_count: int = 5) -> FeatureStatistics:
    columns = {name: KINDS[name] for name in (*FEATURES, "stay")}
    return describe(table.to_batches(), columns, minimum_count, categories={"ward": WARDS})


def setup_of(job: Job, view: Path, statistics: FeatureStatistics) -> Setup:
    layout = layout_of(job, statistics=statistics)
    return Setup(
        view=str(view),
        task=job.task,
        dataset=job.dataset,
        columns={name: KINDS[name] for _, name, _ in job.dataset.columns},
        method=job.way,
        architecture=job.architecture,
        training=job.plan,
        rounds=job.federation.rounds,
        statistics=statistics,
        shapes=layout.shapes(),
        head_modules=layout.head_modules,
        threads=1,
    )


def first_weights(job: Job, statistics: FeatureStatistics) -> bytes:
    content: bytes = safetensors.numpy.save(initial_adapter(layout_of(job, statistics=statistics), job.seed))
    return content
