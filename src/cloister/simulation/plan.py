# SPDX-License-Identifier: Apache-2.0
"""What is simulated."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cloister.documents import Document
from cloister.jobs import Code, Job
from cloister.policies import Submitter
from cloister.simulation.cast import Cast


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Attributes:
        root: the federation's folder.
        cast: job and sites.
        submitter: in whose name.
        code: the training code that the job brings; None where it brings none.
        skew: see `cloister.simulation.views.Views`.
        workers: threads, and trainer processes.
        job_id: what the result calls the job.
        clock: gives the moment that policies are judged by, aware, UTC.
    """

    root: Path
    cast: Cast
    submitter: Submitter
    code: Code | None = None
    skew: float | None = None
    workers: int = 2
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def document(self) -> Document[Job]:
        """The job."""
        return self.cast.document
