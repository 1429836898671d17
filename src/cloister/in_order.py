# SPDX-License-Identifier: Apache-2.0
"""Work on the blocks of a large vector, on several cores and in order: numpy and zstd let others run meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_MOST_THREADS = 4

_Made = TypeVar("_Made")


def in_order(
    make: Callable[[int], _Made],
    blocks: int,
    begin: Callable[[], object] | None = None,
    most_threads: int = _MOST_THREADS,
) -> Iterator[_Made]:
    """``make`` of 0, 1, … ``blocks`` - 1, made on several threads and given in order; few lie ready at a time.

    Args:
        make: called from several threads at once; what it gives must not depend on what else was made.
        blocks: how many.
        begin: called first in each thread that is started.
        most_threads: no more than so many, nor than there are cores; 1 starts none.
    """
    threads = min(len(os.sched_getaffinity(0)), most_threads, blocks)
    if threads < 2:
        yield from map(make, range(blocks))
        return
    with ThreadPoolExecutor(threads, "in-order", begin) as pool:
        waiting: deque[Future[_Made]] = deque()
        for number in range(blocks):
            waiting.append(pool.submit(make, number))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
