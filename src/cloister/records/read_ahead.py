# SPDX-License-Identifier: Apache-2.0
"""The next batch is read while the one before it is looked at."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pyarrow as pa


def read_ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    """The same batches in the same order, of which the next one is always on its way.

    All of ``batches`` runs in one thread of its own, its end included: some databases' connections may not be handed
    from thread to thread. What it raises is raised here, once the batches before are through.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        coming = thread.submit(next, batches, None)
        try:
            while (batch := coming.result()) is not None:
                coming = thread.submit(next, batches, None)
                yield batch
        finally:
            wait([coming])
            if isinstance(batches, Generator):
                thread.submit(batches.close).result()
