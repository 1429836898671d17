# SPDX-License-Identifier: Apache-2.0
"""Whether the training code that jobs name is there, and can travel with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cloister.documents import Document
from cloister.errors import JobError, Problem
from cloister.jobs import Job, code_of


def code_problems(root: Path, jobs: Iterable[Document[Job]]) -> Iterator[Problem]:
    """Every job below ``root`` whose folder of training code is missing or holds what may not travel."""
    for document in jobs:
        try:
            code_of(root, document.value)
        except JobError as error:
            yield Problem(document.source.file, document.source.line(("code",)), error.message, error.hint)


def code_digest(root: Path, job: Job) -> str | None:
    """SHA-256 of the training code that ``job`` would bring; None where it brings none.

    Raises:
        JobError: where it cannot travel.
    """
    code = code_of(root, job)
    return None if code is None else code.digest
