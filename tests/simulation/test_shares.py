# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.simulation.shares import class_shares, even_shares, none_empty, random_for, skewed_shares

LABELS = ["a"] * 50 + ["b"] * 30 + ["c"] * 20


def chance(what: str = "training", seed: int = 7) -> np.random.Generator:
    return random_for(seed, "alpha", what)


@given(records=st.integers(0, 300), copies=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_each_record_goes_to_one_copy_and_their_numbers_differ_by_one(records: int, copies: int, seed: int) -> None:
    shares = even_shares(records, copies, chance(seed=seed))
    assert sorted(np.concatenate(shares).tolist()) == list(range(records))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(copies=st.integers(1, 40), alpha=st.floats(0.01, 100), seed=st.integers(0, 2**31))
def test_skewed_too_each_record_goes_to_one_copy(copies: int, alpha: float, seed: int) -> None:
    shares = class_shares(("a", "b", "c", "unseen"), copies, alpha, chance("classes", seed))
    dealt = skewed_shares(LABELS, shares, chance(seed=seed))
    assert len(dealt) == copies
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(LABELS)))


def test_the_same_seed_deals_the_same_and_another_seed_or_site_does_not() -> None:
    first, second = (even_shares(100, 3, chance()) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    for other in (chance(seed=8), random_for(7, "beta", "training"), chance("validation")):
        assert (even_shares(100, 3, other)[0] != first[0]).any()


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.05, 0.85, 1.0), (1000.0, 0.0, 0.6)])
def test_a_small_alpha_leaves_a_copy_with_few_classes(alpha: float, least: float, most: float) -> None:
    shares = class_shares(("a", "b", "c"), 5, alpha, chance("classes"))
    labels = np.array(LABELS)
    biggest = []
    for share in skewed_shares(LABELS, shares, chance()):
        if len(share):
            _, counts = np.unique(labels[share], return_counts=True)
            biggest.append(counts.max() / counts.sum())
    assert least <= np.mean(biggest) <= most


def test_a_copy_without_a_record_is_given_one() -> None:
    shares = none_empty([np.array([], np.int64), np.array([0, 1, 2]), np.array([], np.int64)])
    assert sorted(np.concatenate(shares).tolist()) == [0, 1, 2]
    assert [len(share) for share in shares] == [1, 1, 1]


def test_fewer_records_than_copies_cannot_be_dealt() -> None:
    with pytest.raises(ValueError, match="fewer records"):
        none_empty([np.array([0]), np.array([], np.int64)])
