# SPDX-License-Identifier: Apache-2.0
"""What is asked of a policy: may this person run this job on this silo, train on this view, send this out?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class ViewFacts:
    """A job's view, counted.

    Attributes:
        records: those to train on.
        classes: the same by label.
        validation: those kept from training, to measure on.
        validation_classes: the same by label.
        people: different people that the records to train on are about; None where the dataset says of nobody.
        identifying: by column of free text that was looked at, the pieces that seem to name somebody.
    """

    records: int
    classes: Mapping[str, int]
    validation: int = 0
    validation_classes: Mapping[str, int] = field(default_factory=dict)
    people: int | None = None
    identifying: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaving:
    """What is about to leave the site in one round.

    Attributes:
        bytes: tensors and message together.
        bytes_before: what left in earlier rounds of the same job.
        norm: Euclidean (L2) norm of the update over all its tensors; None where no tensors leave.
        metrics: numbers by name.
        tensors: the parts of the update that leave, `adapter`, `head` and `model`; empty where no tensors do.
        records: those that the round trained on, as the trainer says; None where it trained on none.
        smallest_count: the smallest count above 0 in the descriptions of features that leave; None where none do.
    """

    bytes: int
    bytes_before: int
    norm: float | None
    metrics: Mapping[str, float]
    tensors: tuple[str, ...]
    records: int | None = None
    smallest_count: int | None = None


@dataclass(frozen=True)
class Request:
    """Everything that rules may look at.

    Attributes:
        site: where the job would run.
        submitter: who asks.
        job: what they ask for.
        silo: what the site has.
        code: SHA-256 of the training code that travels with the job; None where it brings none.
        view: the job's view; None before it is written.
        leaving: what is about to leave; None where nothing is.
    """

    site: str
    submitter: Submitter
    job: Document[Job]
    silo: Document[Silo]
    code: str | None = None
    view: ViewFacts | None = None
    leaving: Leaving | None = None
