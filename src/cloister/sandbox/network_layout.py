# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job on images exchanges: told by a sandboxed process that builds its network and sees no record."""

from __future__ import annotations

from pathlib import Path

from cloister.errors import SandboxError
from cloister.jobs import AdapterLayout, Job


def network_layout(job: Job, base_model: Path | None) -> AdapterLayout:
    """The tensors of ``job``."""
    del base_model
    raise SandboxError(f"jobs of task {job.task} cannot be trained yet")
