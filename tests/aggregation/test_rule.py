# SPDX-License-Identifier: Apache-2.0
"""What every rule promises."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloister.aggregation import Contribution, Rule
from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.mean import Mean
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.multi_krum import MultiKrum
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.errors import JobError
from cloister.vectors import BLOCK_VALUES, ArraySource
from tests.aggregation.contributions import combined, contributions, drawn

LARGEST = float(np.finfo(np.float32).max)
ALL: dict[str, Rule] = {
    "mean": Mean(),
    "median": Median(),
    "trimmed_mean": TrimmedMean(1),
    "krum": Krum(1),
    "multi_krum": MultiKrum(1),
    "geometric_median": GeometricMedian(),
    "bounded mean": NormBounding(Mean(), 1.0),
    "bounded median": NormBounding(Median(), 2.0),
    "bounded geometric median": NormBounding(GeometricMedian(), 2.0),
    "mixed median": Mixing(Median(), 1),
    "mixed trimmed mean": Mixing(TrimmedMean(1), 1),
    "mixed krum": Mixing(Krum(1), 1),
    "mixed multi-krum": Mixing(MultiKrum(1), 1),
    "mixed geometric median": Mixing(GeometricMedian(), 1),
    "bounded mixed median": NormBounding(Mixing(Median(), 1), 2.0),
}
every_rule = pytest.mark.parametrize("rule", ALL.values(), ids=ALL.keys())


@every_rule
def test_the_order_of_arrival_does_not_show_in_a_single_bit(rule: Rule) -> None:
    weights = [1, 1e18, 3, 70_000, 1 / 3]
    arrived = contributions(drawn(1, sites=5, values=1000) * 1e3, weights)
    first = combined(rule, arrived)
    for order in itertools.permutations(arrived):
        assert combined(rule, order).tobytes() == first.tobytes()


@every_rule
@settings(deadline=None, max_examples=30)
@given(
    updates=arrays(np.float32, (5, 6), elements=st.floats(-LARGEST, LARGEST, width=32)),
    weights=st.lists(st.floats(1e-300, 1e300) | st.floats(1, 1e18), min_size=5, max_size=5),
    order=st.permutations(range(5)),
)
def test_whatever_finite_values_and_weights_come_the_result_is_finite(
    rule: Rule, updates: np.ndarray, weights: list[float], order: list[int]
) -> None:
    arrived = contributions(updates, weights)
    first = combined(rule, arrived)  # finite, which `combined` checks
    assert combined(rule, [arrived[number] for number in order]).tobytes() == first.tobytes()


@every_rule
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
def test_updates_that_are_one_and_the_same_give_it(rule: Rule, scale: float) -> None:
    update = drawn(2, sites=1, values=5000)[0] * np.float32(scale)
    found = combined(rule, contributions(np.stack([update] * 7), [1, 2, 3, 1e6, 5, 1e12, 7]))
    if isinstance(rule, NormBounding):
        update = update * min(1.0, (1.0 if rule.name == "mean" else 2.0) / np.linalg.norm(update.astype(np.float64)))
    if rule.name in ("median", "trimmed_mean", "krum") and not isinstance(rule, NormBounding | Mixing):
        np.testing.assert_array_equal(found, update)
    # A sum of seven products in float32: each addition rounds by half a unit in the last place, as does each share.
    np.testing.assert_allclose(found, update, rtol=7 * 2**-24)


@every_rule
def test_a_vector_of_several_blocks_is_one_of_one_block_after_the_other(rule: Rule) -> None:
    """Where a rule looks at whole updates it is one with its parts repeated, so that every block stands for all."""
    part = drawn(3, sites=5, values=1 << 10)
    whole = np.tile(part, BLOCK_VALUES // part.shape[1] * 2 + 1)
    found = list(rule.combine(contributions(whole)))
    assert [block.size for block in found] == [BLOCK_VALUES, BLOCK_VALUES, part.shape[1]]
    for block in found:
        np.testing.assert_array_equal(block, np.tile(found[2], block.size // found[2].size))


@every_rule
def test_what_is_handed_in_is_not_changed_and_nothing_is_kept_between_rounds(rule: Rule) -> None:
    updates = drawn(4, sites=6, values=100)
    given_ = contributions(updates.copy())
    first = combined(rule, given_)
    combined(rule, contributions(drawn(5, sites=9, values=30) * 1e9))
    assert combined(rule, given_).tobytes() == first.tobytes()
    for each, update in zip(given_, updates, strict=True):
        np.testing.assert_array_equal(each.update.block(0), update)


@every_rule
def test_an_update_without_values_gives_none(rule: Rule) -> None:
    assert list(rule.combine(contributions(np.empty((5, 0), np.float32)))) == []


@every_rule
def test_too_few_updates_are_refused_before_anything_is_read(rule: Rule) -> None:
    class Unreadable(ArraySource):
        def block(self, number: int) -> np.ndarray:
            raise AssertionError("was read")

    needed = rule.needed(rule.bad_sites)
    assert needed is not None
    updates = [Contribution(f"site-{number}", 1, Unreadable(np.ones(3, np.float32))) for number in range(needed - 1)]
    with pytest.raises(JobError, match=f"`{rule.name}` needs {needed} updates.* and there are {needed - 1}"):
        rule.combine(updates)
    with pytest.raises(JobError):
        rule.combine([])


@every_rule
@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_that_is_not_a_finite_number_above_zero_is_refused(rule: Rule, weight: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        rule.combine(contributions(drawn(6, sites=5, values=3), [1, 1, weight, 1, 1]))


@every_rule
def test_a_site_that_stands_there_twice_is_refused(rule: Rule) -> None:
    once = contributions(drawn(7, sites=5, values=3))
    with pytest.raises(ValueError, match="once"):
        rule.combine([*once, once[2]])


@every_rule
def test_updates_of_different_sizes_are_refused(rule: Rule) -> None:
    others = contributions(drawn(8, sites=5, values=3))
    odd = Contribution("site-99", 1, ArraySource(np.ones(4, np.float32)))
    with pytest.raises(JobError, match="`site-00` 3 values, that of `site-99` 4"):
        rule.combine([*others, odd])


@every_rule
def test_a_source_that_fails_fails_the_rule(rule: Rule) -> None:
    class Broken(ArraySource):
        def block(self, number: int) -> np.ndarray:
            raise JobError("the update cannot be read")

    arrived = contributions(np.ones((5, 2 * BLOCK_VALUES), np.float32))
    broken = Contribution("site-99", 1, Broken(np.ones(2 * BLOCK_VALUES, np.float32)))
    with pytest.raises(JobError, match="cannot be read"):
        list(rule.combine([*arrived, broken]))


@pytest.mark.parametrize(
    ("rule", "bad_sites", "needed"),
    [
        (Mean(), 0, 1),
        (Mean(), 1, None),
        (Median(), 0, 1),
        (Median(), 4, 9),
        (TrimmedMean(3), 3, 7),
        (Krum(2), 2, 7),
        (MultiKrum(3), 3, 9),
        (GeometricMedian(), 2, 5),
        (NormBounding(Krum(2), 1.0), 2, 7),
        (NormBounding(Mean(), 1.0), 1, None),
        (Mixing(Median(), 2), 0, 1),
        (Mixing(Median(), 2), 2, 5),
        (Mixing(Krum(2), 2), 3, 9),
        (NormBounding(Mixing(TrimmedMean(3), 3), 1.0), 3, 7),
    ],
)
def test_how_many_updates_are_needed(rule: Rule, bad_sites: int, needed: int | None) -> None:
    assert rule.needed(bad_sites) == needed


def test_the_number_that_a_rule_was_made_for_is_the_one_it_insists_on() -> None:
    rules = Mean(), TrimmedMean(3), Krum(2), NormBounding(Krum(2), 1.0), Mixing(Median(), 4)
    assert [rule.bad_sites for rule in rules] == [0, 3, 2, 2, 4]


def test_many_rounds_in_several_threads_are_the_same() -> None:
    """Blocks are made side by side; what is made first does not show."""
    updates = np.concatenate([drawn(9, sites=3, values=BLOCK_VALUES // 2)] * 7, axis=1)
    arrived = contributions(updates, [3, 1e9, 17])
    found = {combined(Mean(), random.Random(seed).sample(arrived, 3)).tobytes() for seed in range(6)}
    assert len(found) == 1
