# SPDX-License-Identifier: Apache-2.0
"""Batches that are read in another thread: the same ones, in order, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.records.read_ahead import read_ahead


def batches(count: int, threads: list[int], *, fails: bool = False) -> Iterator[pa.RecordBatch]:
    try:
        for number in range(count):
            threads.append(threading.get_ident())
            yield pa.RecordBatch.from_pydict({"x": [number]})
        if fails:
            raise RecordsError("the server went away")
    finally:
        threads.append(threading.get_ident())


def numbers(of: Iterator[pa.RecordBatch]) -> list[int]:
    return [number for batch in of for number in batch.column("x").to_pylist()]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_gives_the_same_batches_in_order(count: int) -> None:
    assert numbers(read_ahead(batches(count, []))) == list(range(count))
    assert numbers(read_ahead(iter(list(batches(count, []))))) == list(range(count))


def test_begins_reads_and_ends_in_one_thread_that_is_gone_afterwards() -> None:
    threads: list[int] = []
    before = threading.active_count()
    assert numbers(read_ahead(batches(5, threads))) == list(range(5))
    assert len(threads) == 6
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    assert threading.active_count() == before


def test_hands_on_what_went_wrong_after_the_batches_before_it() -> None:
    found: list[int] = []
    with pytest.raises(RecordsError, match="the server went away"):
        for batch in read_ahead(batches(3, [], fails=True)):
            found += batch.column("x").to_pylist()
    assert found == [0, 1, 2]


def test_is_ended_in_its_own_thread_by_whoever_wants_no_more() -> None:
    threads: list[int] = []
    reading = read_ahead(batches(9, threads))
    next(reading)
    reading.close()
    assert len(threads) == 3  # the first, the one ahead, and the end
    assert len(set(threads)) == 1


def test_is_ended_where_what_is_done_with_a_batch_fails() -> None:
    threads: list[int] = []

    def fail() -> None:
        for _ in read_ahead(batches(9, threads)):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert len(threads) == 3
