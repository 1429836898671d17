# SPDX-License-Identifier: Apache-2.0
"""Arrow's memory from the allocator that holds the least of it back.

Batches come and go by the hundred while a view is written. Arrow's default on Linux, mimalloc, keeps some sixty MB more
of them than jemalloc does (`benchmarks/view_throughput.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def lean_memory() -> Iterator[None]:
    """Use jemalloc meanwhile where Arrow was built with it; what was there before stays where it is."""
    before = pa.default_memory_pool()
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
