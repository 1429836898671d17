# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job exchanges, before any network is built."""

from __future__ import annotations

from pathlib import Path

from cloister.errors import JobError
from cloister.jobs.adapter import AdapterLayout
from cloister.jobs.model import Job
from cloister.jobs.statistics import FeatureStatistics
from cloister.jobs.tabular_layout import tabular_layout
from cloister.jobs.transformer_layout import transformer_layout


def layout_of(
    job: Job,
    *,
    base_model: Path | None = None,
    statistics: FeatureStatistics | None = None,
    rank: int | None = None,
) -> AdapterLayout:
    """The tensors of ``job``; of jobs on images they are asked of `cloister.sandbox`, which builds the network.

    Args:
        job: what is trained.
        base_model: its folder, where the job names one.
        statistics: of the features, over all sites, where the task needs them.
        rank: of low-rank factors, where it is not the job's; see `cloister.policies.rank_at`.

    Raises:
        RecordsError: where the folder holds no base model that can be trained as the job says.
        JobError: where the job's tensors do not follow from what is given.
    """
    if job.imaging is None and job.base_model is not None and base_model is not None:
        return transformer_layout(base_model, job, rank)
    if job.imaging is None and statistics is not None:
        return tabular_layout(job, statistics)
    raise JobError(f"the tensors of a job of task {job.task} cannot be told from its document")
