# SPDX-License-Identifier: Apache-2.0
"""What the features of a view are like: for a network that is made for them, or because a job asks for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.jobs import Job
from cloister.jobs.statistics import FeatureStatistics, described_columns
from cloister.records.view.feature_statistics import describe
from cloister.records.view.files import FILES
from cloister.silos import Dataset


def describe_view(view: Path, dataset: Dataset, job: Job, minimum_count: int) -> FeatureStatistics:
    """Describe what ``job`` wants described, of all records of the view, on both sides of the split.

    Seed and share of a split are the job's to choose. Were one side described by itself, two jobs could be subtracted
    from one another, and tell of the records that are on that side in the one alone, however few those are.

    Args:
        view: the view's folder.
        dataset: as the silo document declares it.
        job: what is asked.
        minimum_count: no count above 0 that is smaller is told.
    """
    names = sorted(described_columns(job))
    return describe(
        _batches([view / file for file in FILES.values()], names),
        columns={name: dataset.columns[name].kind for name in names},
        minimum_count=minimum_count,
        categories={name: dataset.columns[name].values for name in names if dataset.columns[name].values},
        histograms={name: bins.edges for name, bins in job.dataset.histograms.items()},
    )


def _batches(files: list[Path], names: list[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(columns=names, use_threads=False)
