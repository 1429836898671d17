# SPDX-License-Identifier: Apache-2.0
"""What is asked of a policy: may this person run this job on this silo?"""

from __future__ import annotations

from dataclasses import dataclass

from cloister.documents import Document
from cloister.jobs import Job
from cloister.silos import Silo


@dataclass(frozen=True)
class Submitter:
    """Who asks, as their certificate and the roster say; nothing here is checked for its form.

    Attributes:
        name: common name of the certificate.
        organisation: who they act for.
        role: what they may be.
    """

    name: str
    organisation: str
    role: str


@dataclass(frozen=True)
class Request:
    """Everything that rules may look at.

    Attributes:
        site: where the job would run.
        submitter: who asks.
        job: what they ask for.
        silo: what the site has.
        records: those in the job's view that would be trained on; None before the view is written.
    """

    site: str
    submitter: Submitter
    job: Document[Job]
    silo: Document[Silo]
    records: int | None = None
