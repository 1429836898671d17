# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from cloister.aggregation import Contribution, stretches
from cloister.aggregation.distances import inner_products
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.rule import Rule
from cloister.aggregation.stretches import MOST_VALUES, PIECE_VALUES
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.vectors import BLOCK_VALUES, Vector, values_in
from tests.aggregation.contributions import combined, contributions, drawn


@dataclass(frozen=True)
class Endless:
    """An update that takes no memory: each block is made when it is asked for."""

    seed: int
    size: int

    def block(self, number: int) -> Vector:
        return np.full(values_in(number, self.size), self.seed * 7 % 11 + number, np.float32)


def endless(sites: int, size: int) -> list[Contribution]:
    return [Contribution(f"site-{number:03}", 1, Endless(number, size)) for number in range(sites)]


@pytest.mark.parametrize(
    ("sites", "values", "expected"),
    [
        (16, BLOCK_VALUES, [BLOCK_VALUES]),
        (17, BLOCK_VALUES, [60 * PIECE_VALUES, 4 * PIECE_VALUES]),
        (200, 25_000, [25_000]),
        (200, 100_000, [5 * PIECE_VALUES, 100_000 - 5 * PIECE_VALUES]),
    ],
)
def test_a_block_comes_in_as_few_stretches_as_there_is_room_for(sites: int, values: int, expected: list[int]) -> None:
    found = []
    for rows in stretches.stretches(endless(sites, values), 0):
        assert len(rows) == sites
        (size,) = {row.size for row in rows}
        assert size * sites <= MOST_VALUES
        found.append(size)
    assert found == expected


def test_stretches_put_together_are_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = drawn(1, sites=5, values=4 * PIECE_VALUES + 9)
    monkeypatch.setattr(stretches, "MOST_VALUES", 5 * PIECE_VALUES)
    parts = [list(rows) for rows in stretches.stretches(contributions(updates), 0)]
    assert len(parts) == 5
    for number, update in enumerate(updates):
        np.testing.assert_array_equal(np.concatenate([rows[number] for rows in parts]), update)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(2), Mixing(Median(), 2), Mixing(TrimmedMean(1), 1)])
def test_how_long_they_are_does_not_show_in_a_single_bit(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    given = contributions(drawn(2, sites=7, values=5 * PIECE_VALUES + 123))
    found, products = [], []
    for most in (MOST_VALUES, 7 * 2 * PIECE_VALUES, 7 * PIECE_VALUES, 1):
        monkeypatch.setattr(stretches, "MOST_VALUES", most)
        found.append(combined(rule, given).tobytes())
        products.append(inner_products(given).tobytes())
    assert len(set(found)) == len(set(products)) == 1


@pytest.mark.parametrize(
    ("read", "working"),
    [
        (inner_products, 4),  # as float64, twice
        (lambda given: [block.size for block in Median().combine(given)], 2),
        (lambda given: [block.size for block in Mixing(Median(), 2).combine(given)], 6),
    ],
)
def test_many_updates_take_no_more_memory_than_is_stated(
    read: Callable[[list[Contribution]], object], working: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites, values = 24, 24 * PIECE_VALUES
    piece = 4 * sites * PIECE_VALUES
    monkeypatch.setattr(stretches, "MOST_VALUES", 3 * sites * PIECE_VALUES)
    given = endless(sites, values)
    tracemalloc.start()
    try:
        read(given)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A stretch, a block as it is read and one that is made, and what is worked on at a time.
    assert most < 1.1 * (3 * piece + 2 * 4 * values + working * piece)
    assert most < 0.75 * 4 * sites * values


def test_one_block_is_let_go_before_the_next_is_read() -> None:
    sites = 8
    given = endless(sites, 3 * BLOCK_VALUES)
    tracemalloc.start()
    try:
        inner_products(given)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.25 * 4 * sites * BLOCK_VALUES
