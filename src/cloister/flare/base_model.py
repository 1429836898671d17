# SPDX-License-Identifier: Apache-2.0
"""The base model that a job asks for, as it lies at a site."""

from __future__ import annotations

from pathlib import Path

from cloister.errors import DeniedError, RecordsError
from cloister.files import sha256_of_file
from cloister.jobs import Job
from cloister.jobs.base_model import weights_of
from cloister.silos import Silo


def find_base_model(root: Path, silo: Silo, job: Job) -> Path | None:
    """Its folder; None where the job names none.

    Args:
        root: the federation's folder, where relative paths start.
        silo: the site's silo document.
        job: what is asked for.

    Raises:
        RecordsError: where the site does not have it.
    """
    if job.base_model is None:
        return None
    place = silo.base_models.get(job.base_model.name)
    if place is None:
        raise RecordsError(f"base model `{job.base_model.name}` is not in the site's silo document")
    folder = (root / place.path).resolve()
    if not folder.is_dir():
        raise RecordsError(f"base model `{job.base_model.name}` does not lie where the silo document says")
    return folder


def check_base_model(job: Job, folder: Path | None) -> None:
    """See that the weights in ``folder`` are those that ``job`` pins.

    Raises:
        DeniedError: where they are others.
    """
    asked = job.base_model
    if asked is None or folder is None:
        return
    found = sha256_of_file(weights_of(folder))
    if found != asked.sha256:
        raise DeniedError(
            f"base model `{asked.name}` at this site has sha256 {found[:16]}…, and the job asks for "
            f"{asked.sha256[:16]}…",
            hint="one of the two is not the file that was approved",
        )
