# SPDX-License-Identifier: Apache-2.0
"""The order of the text classifier's records is that of every trainer; more of it in test_classification_records.py."""

from __future__ import annotations

import itertools

import numpy as np

from cloister.training.order import by_length, shuffled


def test_shortest_first() -> None:
    assert [batch.tolist() for batch in by_length(np.array([5, 1, 3, 1]), 3)] == [[1, 3, 2], [0]]


def test_each_pass_has_every_record_once_in_another_order() -> None:
    stream = shuffled(np.array([4, 9, 2, 7, 7, 1, 3]), 2, (1, 2))
    passes = [np.concatenate(list(itertools.islice(stream, 4))).tolist() for _ in range(3)]
    assert all(sorted(each) == list(range(7)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3
