# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.wire.quantisation import GROUP_VALUES, LIMIT, Quantised, error_bound, groups_of, quantise, restore
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian

LEVELS = pytest.mark.parametrize("levels", [7, 127])


class EveryChance:
    """Draws each of the 65536 chances once, in order."""

    @property
    def bit_generator(self) -> EveryChance:
        return self

    def random_raw(self, size: int) -> np.ndarray:
        return np.arange(4 * size, dtype=np.uint16).view(np.uint64)


def steps_of(quantised: Quantised) -> np.ndarray:
    return (quantised.steps.astype(np.uint32) << 16).view(np.float32)


@LEVELS
@pytest.mark.parametrize("part", [0.0, 1e-6, 0.1, 1 / 3, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_over_every_chance_the_mean_is_the_value(levels: int, part: float, sign: int) -> None:
    chances: Any = EveryChance()
    block = np.full(1 << 16, sign * part, np.float32)
    block[::GROUP_VALUES] = 1  # what makes the step the same in each group
    quantised = quantise(block, levels, chances)
    (step,) = set(steps_of(quantised))
    others = np.arange(block.size) % GROUP_VALUES != 0
    mean = restore(quantised, levels)[others].mean(dtype=np.float64)
    # Of every 256 chances, one went to the value that makes the step.
    assert abs(mean - sign * part) <= step * 2.0**-14


@LEVELS
def test_over_many_seeds_no_value_is_biased(levels: int) -> None:
    block, rounds = gaussian(1024), 500
    total = np.zeros(block.size)
    for seed in range(rounds):
        total += restore(quantise(block, levels, generator(seed, 0)), levels)
    deviation = error_bound(block, levels) / 2 / np.sqrt(rounds)  # at most: of a coin whose sides are a step apart
    off = (total / rounds - block) / deviation
    assert np.abs(off).max() < 5
    assert abs(off.mean()) < 0.15


@LEVELS
def test_a_value_becomes_the_multiple_above_or_below(levels: int) -> None:
    block = gaussian(100_000)
    quantised = quantise(block, levels, generator(1, 0))
    steps = np.repeat(steps_of(quantised), GROUP_VALUES)[: block.size].astype(np.float64)
    codes = quantised.codes.astype(int) - levels - 1
    share = block / steps
    assert ((codes == np.floor(share)) | (codes == np.ceil(share))).mean() > 0.9999  # but for float32's own rounding
    assert (np.abs(codes - share) < 1 + 2.0**-15).all()
    assert np.abs(codes).max() == levels


@LEVELS
def test_a_step_is_the_largest_value_over_the_levels_and_up_to_a_sixteenth_more(levels: int) -> None:
    block = gaussian(64 * GROUP_VALUES)
    least = np.abs(block.reshape(-1, GROUP_VALUES)).max(axis=1) / levels
    steps = steps_of(quantise(block, levels, generator(1, 0)))
    assert (steps >= least).all()
    assert (steps <= least * 1.0626).all()
    np.testing.assert_array_equal(error_bound(block, levels)[::GROUP_VALUES], steps)


@LEVELS
@pytest.mark.parametrize("size", [256, 257, 511, 65_537])
def test_groups_do_not_touch_each_other(levels: int, size: int) -> None:
    block = gaussian(size)
    alone = restore(quantise(block[: size // 256 * 256], levels, generator(3, 0)), levels)
    both = restore(quantise(block, levels, generator(3, 0)), levels)
    np.testing.assert_array_equal(both[: alone.size], alone)
    assert groups_of(size) == quantise(block, levels, generator(3, 0)).steps.size


@LEVELS
@pytest.mark.parametrize("value", [2.0**-149, 2.0**-130, 2.0**-126, LIMIT])
def test_the_smallest_and_the_largest_values_stay_finite(levels: int, value: float) -> None:
    block = np.array([value, -value, 0, value / 3], np.float32)
    for seed in range(50):
        values = restore(quantise(block, levels, generator(seed, 0)), levels)
        assert (np.abs(values - block.astype(np.float64)) <= error_bound(block, levels)).all()
        assert values[2] == 0


@LEVELS
@pytest.mark.parametrize(
    "bits", [0x7F80, 0x7FC0, 0x7FFF, 0x8000, 0xBF80, 0xFF80, 0x7F78, 0x0000, 0x0078, 0x3F81, 0x3F84]
)
def test_steps_that_values_do_not_have_are_refused(levels: int, bits: int) -> None:
    with pytest.raises(EgressError) as caught:
        restore(Quantised(np.array([bits], np.uint16), np.full(256, levels + 1, np.uint8)), levels)
    assert str(caught.value) == "a step of the update is not one that values have"


@LEVELS
def test_codes_that_values_do_not_have_are_refused(levels: int) -> None:
    step = np.array([0x3F80], np.uint16)
    wrong = {0, *range(2 * levels + 2, 256)}
    for code in range(256):
        quantised = Quantised(step, np.array([levels + 1, code], np.uint8))
        if code in wrong:
            with pytest.raises(EgressError) as caught:
                restore(quantised, levels)
            assert str(caught.value) == "a code of the update is not one that values have"
        else:
            assert restore(quantised, levels)[1] == code - levels - 1
