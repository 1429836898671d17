# SPDX-License-Identifier: Apache-2.0
"""A job's manifest, signed with the key in a person's kit: what a submitter puts their name to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import Document
from cloister.errors import UsageError
from cloister.flare.job_folder import files_of_job
from cloister.governance.job_manifest import sign_manifest
from cloister.jobs import Code, Job
from cloister.jobs.manifest import Manifest


def signed_manifest(  # noqa: PLR0913 - a manifest states each of these
    job: Document[Job],
    sites: Iterable[str],
    kit: Path,
    person: str,
    now: datetime,
    lifetime: timedelta,
    *,
    code: Code | None = None,
) -> bytes:
    """The signed manifest of a job that is about to be submitted; every call gives another one.

    Args:
        job: its document.
        sites: who is asked.
        kit: the person's kit.
        person: whose kit it is.
        now: aware time from which it counts.
        lifetime: for how long.
        code: the training code that it brings.

    Raises:
        JobError: where the job and its training code do not belong together.
        UsageError: where no manifest can be made of it, such as one that counts for longer than it may.
        ProvisioningError: where key or certificate are missing, or others can read the key.
    """
    startup = kit / "startup"
    files = files_of_job(job, code)
    try:
        manifest = Manifest.of(job.value, files, sites=sites, submitter=person, now=now, lifetime=lifetime)
    except ValueError as error:
        raise UsageError(f"the job cannot be submitted: its manifest {error}") from error
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    return sign_manifest(manifest, key, certificate)
