# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.wire import rounding_seed
from cloister.wire.rounding import generator


def test_seeds_differ_by_everything() -> None:
    seeds = [
        rounding_seed("job", "alpha", 1, "up"),
        rounding_seed("job", "alpha", 1, "down"),
        rounding_seed("job", "alpha", 2, "up"),
        rounding_seed("job", "beta", 1, "up"),
        rounding_seed("jobalpha", "", 1, "up"),
        rounding_seed("other", "alpha", 1, "up"),
        rounding_seed("job", "alpha1", 1, "up"),
        rounding_seed("job", "alpha", 11, "up"),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**128 for seed in seeds)


def test_seeds_stay_as_they_are() -> None:
    """A job that is run again rounds as it did, also under a later version."""
    assert rounding_seed("job", "alpha", 1, "up") == 10615172773319521610874533837567228509
    np.testing.assert_array_equal(
        generator(7, 3).bit_generator.random_raw(2), [4984240537714540297, 16159351496983298522]
    )


def test_blocks_draw_other_numbers() -> None:
    drawn = np.concatenate([generator(1, block).bit_generator.random_raw(1000) for block in range(4)])
    assert len(set(drawn.tolist())) == 4000
