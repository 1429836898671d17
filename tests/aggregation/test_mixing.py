# SPDX-License-Identifier: Apache-2.0
"""Nearest-neighbour mixing: against its definition written out, and within the bound that its theorem gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloister.aggregation import Contribution
from cloister.aggregation.distances import inner_products
from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing, mixed_products, mixed_rows, mixing_matrix, neighbours
from cloister.aggregation.multi_krum import MultiKrum
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.share_rule import ShareRule
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.aggregation.value_rule import ValueRule
from cloister.vectors import BLOCK_VALUES, ArraySource, Vector
from tests.aggregation.contributions import combined, contributions, drawn

RULES: dict[str, type[ShareRule] | type[ValueRule]] = {
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "geometric_median": GeometricMedian,
}
every_rule = pytest.mark.parametrize("name", RULES)


def plain(name: str, bad: int) -> ShareRule | ValueRule:
    return RULES[name]() if name.endswith("median") else RULES[name](bad)  # type: ignore[call-arg]


def written_out(updates: np.ndarray, bad: int) -> np.ndarray:
    """Each row the mean of the n - f rows nearest to it, as the paper says it; ties by number."""
    rows = updates.astype(np.float64)
    means = []
    for row in rows:
        distances = [float(np.sum((row - other) ** 2)) for other in rows]
        nearest = sorted(range(len(rows)), key=lambda number: (distances[number], number))[: len(rows) - bad]
        means.append(sum(rows[number] for number in nearest) / (len(rows) - bad))
    return np.stack(means)


@every_rule
@pytest.mark.parametrize(("sites", "bad"), [(5, 1), (7, 2), (10, 2), (16, 4)])
def test_it_is_the_rule_on_means_of_the_nearest(name: str, sites: int, bad: int) -> None:
    for seed in range(5):
        updates = drawn(seed, sites, values=30)
        updates[:bad] *= [[-1]] if seed % 2 else [[40]]
        expected = combined(plain(name, bad), contributions(written_out(updates, bad)))
        found = combined(Mixing(plain(name, bad), bad), contributions(updates))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_of_the_nearest_an_update_itself_is_the_first_and_of_equals_those_first_by_name() -> None:
    updates = np.zeros((5, 2), np.float32)
    assert neighbours(inner_products(contributions(updates)), 2) == (
        (0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 3), (0, 1, 4),
    )  # fmt: skip
    updates[4] = 1
    assert neighbours(inner_products(contributions(updates)), 1)[4] == (0, 1, 2, 4)


def test_what_is_summed_up_is_the_mean_to_half_a_bit() -> None:
    updates = drawn(1, sites=9, values=5000) * np.float32(1e20)
    near = neighbours(inner_products(contributions(updates)), 3)
    for row, mean in zip(near, mixed_rows(list(updates), near), strict=True):
        assert len(row) == 6
        np.testing.assert_array_equal(mean, updates[list(row)].astype(np.float64).mean(axis=0).astype(np.float32))


def test_means_inner_products_follow_from_those_of_the_updates() -> None:
    updates = drawn(2, sites=8, values=400)
    products = inner_products(contributions(updates))
    near = neighbours(products, 2)
    means = mixing_matrix(near) @ updates.astype(np.float64)
    np.testing.assert_allclose(mixed_products(products, near), means @ means.T, rtol=1e-9)
    np.testing.assert_allclose(mixing_matrix(near).sum(axis=1), 1, rtol=1e-15)


@every_rule
def test_the_order_of_arrival_does_not_show_in_a_single_bit_of_ties_either(name: str) -> None:
    updates = np.round(drawn(3, sites=6, values=200))
    updates[2] = updates[4]  # an update twice, and distances in whole numbers
    arrived = contributions(updates, [1, 1e18, 3, 70_000, 1 / 3, 2])
    rule = Mixing(plain(name, 1), 1)
    first = combined(rule, arrived).tobytes()
    for order in itertools.islice(itertools.permutations(arrived), 0, 720, 7):
        assert combined(rule, order).tobytes() == first


@every_rule
def test_records_buy_no_weight(name: str) -> None:
    updates = drawn(4, sites=7, values=100)
    rule = Mixing(plain(name, 2), 2)
    weighted = combined(rule, contributions(updates, [1, 1e18, 1, 5, 7, 1e-9, 3]))
    np.testing.assert_array_equal(weighted, combined(rule, contributions(updates)))


def coefficient(name: str, sites: int, bad: int) -> float:
    """The k of a rule that is (f, k)-robust: table 1 of the paper, and for Krum as it is here."""
    ratio = bad / (sites - 2 * bad)
    return {
        "median": 4 * (1 + ratio) ** 2,
        "geometric_median": 4 * (1 + ratio) ** 2,
        "trimmed_mean": 6 * ratio * (1 + ratio),
        "krum": 6 * (sites - bad) / (sites - 2 * bad - 1),
    }[name]


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "krum", "geometric_median"])
@settings(deadline=None, max_examples=40)
@given(
    good=arrays(np.float32, (7, 4), elements=st.floats(-100, 100, width=32)),
    bad=arrays(
        np.float32, (2, 4), elements=st.floats(-100, 100, width=32) | st.floats(-(2.0**100), 2.0**100, width=32)
    ),
    order=st.permutations(range(9)),
)
def test_the_result_is_as_near_to_the_good_ones_mean_as_the_theorem_says(
    name: str, good: np.ndarray, bad: np.ndarray, order: Sequence[int]
) -> None:
    sites, f = 9, 2
    found = combined(Mixing(plain(name, f), f), contributions(np.concatenate([good, bad])[list(order)]))
    wide = good.astype(np.float64)
    spread = float(((wide - wide.mean(axis=0)) ** 2).sum(axis=1).mean())
    away = float(((found - wide.mean(axis=0)) ** 2).sum())
    bound = 8 * f / (sites - f) * (coefficient(name, sites, f) + 1) * spread
    assert away <= bound * (1 + 1e-5) + 1e-7 * (1 + np.abs(wide).max()) ** 2  # what float32 rounds


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "geometric_median"])
def test_where_good_sites_differ_it_is_nearer_to_their_mean_than_the_rule_alone(name: str) -> None:
    """Of ten sites two send what they learnt with the other sign, and what is common is small beside what is not."""
    alone: list[float] = []
    behind: list[float] = []
    for seed in range(10):
        draw = np.random.default_rng(seed)
        updates = 0.3 * draw.normal(size=300) + draw.normal(size=(10, 300))
        good = updates[:8].mean(axis=0)
        updates[8:] *= -1
        for found, rule in ((alone, plain(name, 2)), (behind, Mixing(plain(name, 2), 2))):
            found.append(float(np.linalg.norm(combined(rule, contributions(updates)) - good)))
    assert np.mean(behind) < 0.5 * np.mean(alone)


@every_rule
def test_no_site_has_more_than_its_share_of_any_value_so_that_none_comes_out_alone(name: str) -> None:
    """Each site sends a value of its own kind, from which its share can be read; the good ones first, then anybody."""
    sites, bad = 7, 2
    for far in (1.0, 1000.0):
        updates = np.eye(sites, dtype=np.float32)
        updates[2] *= far
        found = combined(Mixing(plain(name, bad), bad), contributions(updates))
        shares = found / updates.diagonal()
        assert (shares <= 1 / (sites - bad) * (1 + 1e-6)).all()
        assert (shares >= 0).all()


def test_the_largest_values_there_are_reach_no_good_sites_mean() -> None:
    updates = drawn(5, sites=9, values=50)
    good = updates[:7].mean(axis=0, dtype=np.float64)
    updates[7:] = 3e38
    for name in RULES:
        found = combined(Mixing(plain(name, 2), 2), contributions(updates))
        np.testing.assert_allclose(found, good, rtol=1e-4, atol=1e-5)


def test_norms_are_bounded_before_updates_are_mixed() -> None:
    updates = drawn(6, sites=7, values=80)
    updates[3] *= 50
    (bound, *_) = norms = [float(norm) for norm in np.linalg.norm(updates.astype(np.float64), axis=1)]
    scaled = np.stack([row * np.float32(min(1.0, bound / norm)) for row, norm in zip(updates, norms, strict=True)])
    found = combined(NormBounding(Mixing(Median(), 2), bound), contributions(updates))
    np.testing.assert_allclose(found, combined(Mixing(Median(), 2), contributions(scaled)), rtol=1e-5, atol=1e-7)


@dataclass(frozen=True)
class Counting(ArraySource):
    reads: list[int]

    def block(self, number: int) -> Vector:
        self.reads.append(number)
        return super().block(number)


@every_rule
def test_updates_are_read_twice_and_no_more(name: str) -> None:
    reads: list[int] = []
    rows = drawn(7, sites=7, values=BLOCK_VALUES + 5)
    arrived = [Contribution(f"site-{number}", 1, Counting(row, reads)) for number, row in enumerate(rows)]
    for _ in Mixing(plain(name, 2), 2).combine(arrived):
        pass
    assert len(reads) <= 2 * 2 * len(rows)


def test_the_rule_after_it_bears_as_many() -> None:
    assert Mixing(TrimmedMean(2), 2).bad_sites == Mixing(Median(), 2).bad_sites == 2
    with pytest.raises(ValueError, match="one number"):
        Mixing(TrimmedMean(1), 2)


@pytest.mark.parametrize(
    ("name", "bad", "needed"), [("median", 2, 5), ("trimmed_mean", 3, 7), ("krum", 2, 7), ("geometric_median", 1, 3)]
)
def test_how_many_updates_are_needed(name: str, bad: int, needed: int) -> None:
    assert Mixing(plain(name, bad), bad).needed(bad) == needed
