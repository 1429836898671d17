# SPDX-License-Identifier: Apache-2.0
"""Can each dataset be reached, and has it the columns that the silo document declares? No record is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.documents import Document
from cloister.errors import RecordsError
from cloister.records.stores import open_store
from cloister.silos import Silo


def look_at_dataset(root: Path, silo: Document[Silo], name: str) -> Iterator[Finding]:
    """Open the dataset called ``name``, as a job's process would, and close it again.

    Args:
        root: the federation's folder, where relative paths start.
        silo: the site's silo document.
        name: the dataset's.
    """
    dataset, site = silo.value.datasets[name], silo.value.site
    try:
        open_store(dataset, root=root)
    except RecordsError as error:
        where = silo.source.at("datasets", name)
        yield Finding("D1201", f"dataset `{name}` cannot be read: {error.message} ({where})", error.hint)
        return
    message = f"dataset `{name}` ({dataset.connector.kind}) opens and has every declared column"
    yield in_order(Topic.DATASETS, f"{message}; its rows are looked through by `cloister data check {site}`")
