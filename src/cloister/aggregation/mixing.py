# SPDX-License-Identifier: Apache-2.0
"""Each update becomes the mean of those nearest to it, in front of a rule that bears bad sites.

Nearest-neighbour mixing (NNM; Allouah, Farhadkhani, Guerraoui, Gupta, Pinot and Stephan, Fixing by Mixing: A Recipe for
Optimal Byzantine ML under Heterogeneity, AISTATS 2023, https://arxiv.org/abs/2302.01772). What is peculiar
to single good sites is averaged out of every one of them first, so that what bad ones send has less to hide behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.distances import Matrix, inner_products, squared_distances
from cloister.aggregation.kernel import weighted_sum
from cloister.aggregation.rule import Rule
from cloister.aggregation.share_rule import ShareRule
from cloister.aggregation.sorted_values import Rows, by_rank
from cloister.aggregation.value_rule import ValueRule
from cloister.vectors import Vector

Neighbours = tuple[tuple[int, ...], ...]
"""For each update the numbers of those that it becomes the mean of, in order."""


class Mixing(Rule):
    """Each of n updates becomes the plain mean of the n - f that are nearest to it, itself one of them; a rule follows.

    What holds (the paper's lemma on NNM): let the rule be (f, k)-robust, that is, for any n - f of the updates that it
    is given let the squared distance of its result from their mean be at most k V, with V the mean of their squared
    distances from that mean. Then the result is within 8 f / (n - f) × (k + 1) × V of the mean of any n - f updates as
    they were sent, the good ones among them, whatever the f others are; f has to be below n / 2. No rule gets below
    f / (n - 2 f) × V. With r = f / (n - 2 f), k is 6 r (1 + r) for the trimmed mean and 4 (1 + r)² for the median and
    the geometric median (the paper's table of rules), and 6 (n - f) / (n - 2 f - 1) for Krum as it is here. No more bad
    sites are borne than it was made for.

    Every site alike, whatever it says of its records: otherwise a bad one could buy itself weight in good ones' means.
    Of updates that are equally near, those of the first sites by name are taken. No update has a share above
    1 / (n - f) in any value of the result, so that no result is one site's alone.

    Memory is that of the rule: a mean of means is a mean of the updates, and what is sorted is mixed piece by piece.

    Args:
        rule: what combines the means.
        bad_sites: f.

    Raises:
        ValueError: where the rule bears another number of bad sites.
    """

    def __init__(self, rule: ShareRule | ValueRule, bad_sites: int) -> None:
        if rule.bad_sites not in (0, bad_sites):
            raise ValueError("mixing and the rule after it bear one number of bad sites")
        self._rule, self.bad_sites = rule, bad_sites

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the rule."""
        return self._rule.name

    def needed(self, bad_sites: int) -> int | None:
        """More than twice as many as are bad, and as many as the rule needs."""
        needed = self._rule.needed(bad_sites)
        return None if needed is None else max(2 * bad_sites + 1, needed)

    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """What the rule makes of the means; two passes over the updates."""
        products = inner_products(contributions)
        near, rule = neighbours(products, self.bad_sites), self._rule
        if isinstance(rule, ValueRule):
            return by_rank(contributions, rule.pick, lambda rows: mixed_rows(rows, near))
        shares = mixing_matrix(near)
        return weighted_sum(contributions, list(rule.shares(mixed_products(products, near)) @ shares))


def neighbours(products: Matrix, bad_sites: int) -> Neighbours:
    """For each update itself and the nearest others, n - f in all.

    Args:
        products: inner products of all pairs, of shape (n, n).
        bad_sites: f.
    """
    squares = squared_distances(products)
    np.fill_diagonal(squares, -1.0)  # itself comes first, also before one that is the same
    nearest = np.argsort(squares, axis=1, kind="stable")[:, : len(products) - bad_sites]
    return tuple(tuple(sorted(row)) for row in nearest.tolist())


def mixing_matrix(near: Neighbours) -> Matrix:
    """The share of each update in each mean, of shape (means, updates)."""
    shares = np.zeros((len(near), len(near)))
    for place, row in enumerate(near):
        shares[place, list(row)] = 1 / len(row)
    return shares


def mixed_products(products: Matrix, near: Neighbours) -> Matrix:
    """Inner products of all pairs of means; of means that are one and the same, to the last bit."""
    kinds = {row: place for place, row in enumerate(dict.fromkeys(near))}
    shares = mixing_matrix(near)[[near.index(row) for row in kinds]]
    places = [kinds[row] for row in near]
    whole: Matrix = (shares @ products @ shares.T)[np.ix_(places, places)]
    return whole


def mixed_rows(rows: Rows, near: Neighbours) -> Rows:
    """The means themselves, summed in float64 in the order of the sites, each rounded to float32 once.

    Args:
        rows: the same values of each update; they are left as they are.
        near: which are summed.
    """
    wide = [row.astype(np.float64) for row in rows]
    made: dict[tuple[int, ...], Vector] = {}
    for first, *others in dict.fromkeys(near):
        total = wide[first].copy()
        for other in others:
            total += wide[other]
        made[first, *others] = (total / (1 + len(others))).astype(np.float32)
    return [made[row].copy() for row in near]
