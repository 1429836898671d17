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
