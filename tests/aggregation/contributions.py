# SPDX-License-Identifier: Apache-2.0
"""Updates in memory as a round's contributions, and what a rule makes of them in one piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation import Contribution, Rule
from cloister.vectors import ArraySource, Vector


def contributions(updates: npt.ArrayLike, weights: Sequence[float] | None = None) -> list[Contribution]:
    """One for each row of ``updates``, of sites `site-00`, `site-01`, …, each of weight 1 where no others are given."""
    rows = np.asarray(updates, np.float32)
    return [
        Contribution(f"site-{number:02}", 1.0 if weights is None else weights[number], ArraySource(row))
        for number, row in enumerate(rows)
    ]


def combined(rule: Rule, given: Sequence[Contribution]) -> Vector:
    """The whole combined update; checks that it is float32 and finite."""
    whole = np.concatenate([*rule.combine(given), np.empty(0, np.float32)])
    assert whole.dtype == np.float32
    assert whole.size == given[0].update.size
    assert np.isfinite(whole).all()
    return whole


def drawn(seed: int, sites: int, values: int) -> npt.NDArray[np.float32]:
    """Updates with a common direction and a spread around it."""
    random = np.random.Generator(np.random.PCG64(seed))
    centre = random.normal(size=values)
    return (centre + random.normal(size=(sites, values))).astype(np.float32)
