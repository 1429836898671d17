# SPDX-License-Identifier: Apache-2.0
"""A bound on how far one site can move the result, in front of any rule (https://arxiv.org/abs/1911.07963)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.distances import norms
from cloister.aggregation.rule import Rule
from cloister.vectors import Source, Vector


class NormBounding(Rule):
    """Updates of a norm above the bound are scaled down to it, then the rule combines them.

    Args:
        rule: what combines them.
        maximum_norm: the bound, Euclidean (L2), over all values of an update.
    """

    def __init__(self, rule: Rule, maximum_norm: float) -> None:
        self._rule, self._maximum = rule, maximum_norm
        self.bad_sites = rule.bad_sites

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the rule."""
        return self._rule.name

    def needed(self, bad_sites: int) -> int | None:
        """As many as the rule needs: a bound alone bears no bad site, it makes it less bad."""
        return self._rule.needed(bad_sites)

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """What the rule makes of the bounded updates; one pass over the updates more than it takes."""
        return self._rule.blocks(
            [
                replace(each, update=_Scaled(each.update, self._maximum / norm)) if norm > self._maximum else each
                for each, norm in zip(contributions, norms(contributions), strict=True)
            ]
        )


@dataclass(frozen=True)
class _Scaled:
    update: Source
    factor: float

    @property
    def size(self) -> int:
        return self.update.size

    def block(self, number: int) -> Vector:
        block = self.update.block(number)
        # In float64: for a length of 1e41 the factor is so small that float32 has it wrong by up to half or double.
        return np.multiply(block, self.factor, out=block, dtype=np.float64, casting="same_kind")
