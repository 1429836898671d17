# SPDX-License-Identifier: Apache-2.0
"""Which tensors of an update are the two low-rank factors of one layer; everything else is combined value by value."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloister.jobs.adapter import CONTROL, FACTOR_A, FACTOR_B, Arrays

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Pair:
    """The factors of one adapted layer, of which the merged weight is W + s B A.

    Attributes:
        layer: the beginning of both names.
    """

    layer: str

    @property
    def a(self) -> str:
        """Name of A, (rank, input)."""
        return self.layer + FACTOR_A

    @property
    def b(self) -> str:
        """Name of B, (output, rank)."""
        return self.layer + FACTOR_B

    def of(self, arrays: Arrays) -> tuple[Matrix, Matrix]:
        """B and A of ``arrays``, float64, in the order of their product."""
        return arrays[self.b].astype(np.float64), arrays[self.a].astype(np.float64)


@dataclass(frozen=True)
class Trained:
    """What one site has after its training.

    Attributes:
        site: whose.
        weight: training records behind it, above 0.
        arrays: the tensors it received with its update added, float32.
    """

    site: str
    weight: float
    arrays: Arrays


@dataclass(frozen=True)
class Combined:
    """What a round comes to.

    Attributes:
        arrays: the next round's tensors, float32.
        cut_off: by layer, the share of the sum's Frobenius norm that its factors have no room for; 0 where they hold
            all of it.
    """

    arrays: Arrays
    cut_off: dict[str, float]


def pairs_of(names: Collection[str]) -> tuple[Pair, ...]:
    """The pairs among ``names``, sorted.

    Control variates are no factors, whatever they belong to; a factor whose other one stays at the sites is no pair.
    """
    layers = (Pair(name.removesuffix(FACTOR_A)) for name in names if name.endswith(FACTOR_A))
    return tuple(sorted(pair for pair in layers if pair.b in names and not pair.a.startswith(CONTROL)))


def rest_of(names: Collection[str]) -> tuple[str, ...]:
    """The names that are of no pair, sorted."""
    return tuple(sorted(set(names).difference(name for pair in pairs_of(names) for name in (pair.a, pair.b))))


def in_order(trained: Sequence[Trained]) -> tuple[list[Trained], list[float]]:
    """``trained`` by the names of the sites, and each one's share of all weight; so arrival does not show.

    Raises:
        ValueError: where there is none, a site comes twice, or a weight is not above 0.
    """
    if not trained or len({each.site for each in trained}) < len(trained) or not all(t.weight > 0 for t in trained):
        raise ValueError("needs one update of each site, with a weight above 0")
    known = sorted(trained, key=lambda each: each.site)
    total = np.float64(sum(each.weight for each in known))
    return known, [float(each.weight / total) for each in known]


def mean_of(names: Collection[str], trained: Sequence[Trained]) -> Arrays:
    """The mean of each of the tensors ``names``, weighted by records, summed in float64."""
    known, shares = in_order(trained)
    means: Arrays = {}
    for name in names:
        total = np.zeros(known[0].arrays[name].shape)
        for each, share in zip(known, shares, strict=True):
            total += share * each.arrays[name].astype(np.float64)
        means[name] = total.astype(np.float32)
    return means
