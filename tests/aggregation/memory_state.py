# SPDX-License-Identifier: Apache-2.0
"""A server optimiser's state in memory, for tests of what is made of it; `test_optimiser_state` looks at it as well."""

from __future__ import annotations

from cloister.aggregation.optimiser_state import _checked
from cloister.vectors import Vector


class MemoryState:
    """See `cloister.aggregation.optimiser_state.State`."""

    def __init__(self) -> None:
        self._committed: dict[tuple[str, int], Vector] | None = None
        self._next: dict[tuple[str, int], Vector] = {}

    def get(self, name: str, block: int, size: int) -> Vector | None:
        if self._committed is None:
            return None
        return _checked(self._committed.get((name, block)), name, block, size)

    def put(self, name: str, block: int, values: Vector) -> None:
        self._next[name, block] = values.copy()

    def commit(self) -> None:
        self._committed, self._next = self._next, {}
