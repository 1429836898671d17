# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.view import distinct
from cloister.records.view.distinct import Distinct


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5)), max_size=20))
def test_counts_each_number_once_whatever_the_batches(batches: list[list[int]]) -> None:
    found = Distinct()
    for batch in batches:
        found.add(np.array(batch, np.uint64))
    assert len(found) == len({number for batch in batches for number in batch})


def test_memory_is_that_of_the_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_SORTED_IN_AT", 100)
    found = Distinct()
    for _ in range(1000):
        found.add(np.arange(50, dtype=np.uint64))
        assert sum(map(len, found._new)) <= 150
    assert len(found) == 50
