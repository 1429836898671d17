# SPDX-License-Identifier: Apache-2.0
"""What must be known to build a job's network for images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cloister.documents import Model
from cloister.errors import JobError
from cloister.jobs.architecture import Architecture
from cloister.jobs.imaging import Imaging
from cloister.jobs.method import Method
from cloister.jobs.model import Job
from cloister.jobs.tasks import Task


class NetworkPlan(Model):
    """One network: declared by the job, or a base model's.

    Attributes:
        task: what it is to say: a number for each class, or for each class at each voxel.
        architecture: as the job declares it.
        base_model: folder of a MONAI bundle, as whoever builds the network sees it.
        imaging: the form of the images that it is given.
        method: how it is trained.
        classes: how many there are.
    """

    task: Annotated[Task, Field(strict=False)]
    architecture: Architecture | None = None
    base_model: str | None = None
    imaging: Imaging
    method: Method
    classes: int = Field(ge=1)


def network_plan_of(job: Job, base_model: str | None) -> NetworkPlan:
    """The network of ``job``, a job on images.

    Args:
        job: what is trained.
        base_model: the folder of its base model, as whoever builds the network sees it.

    Raises:
        JobError: where it is no job on images.
    """
    if job.imaging is None:
        raise JobError(f"a job of task {job.task} has no network for images")
    return NetworkPlan(
        task=job.task,
        architecture=job.architecture,
        base_model=base_model,
        imaging=job.imaging,
        method=job.way,
        classes=len(job.dataset.labels),
    )
