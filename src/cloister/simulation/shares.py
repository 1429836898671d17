# SPDX-License-Identifier: Apache-2.0
"""Which records each copy of a site has: all of the site's, dealt out by the job's seed, each to one copy.

Evenly, they are shuffled and cut into equal parts. Skewed, the shares of each class are drawn from a symmetric
Dirichlet distribution, after Li, Diao, Chen and He, Federated Learning on Non-IID Data Silos: An Experimental Study
(https://arxiv.org/abs/2102.02079), section 4.1: the smaller alpha, the fewer copies have most of a class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Shares = dict[str, npt.NDArray[np.float64]]


def random_for(seed: int, origin: str, what: str) -> np.random.Generator:
    """The source of chance for ``what`` of the site ``origin``; the same wherever the same job is simulated."""
    digest = hashlib.sha256(f"simulation/{seed}/{origin}/{what}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def even_shares(records: int, copies: int, random: np.random.Generator) -> list[Indices]:
    """Sorted indices of each copy's records; their numbers differ by one at most."""
    return [np.sort(part) for part in np.array_split(random.permutation(records), copies)]


def class_shares(classes: Sequence[str], copies: int, alpha: float, random: np.random.Generator) -> Shares:
    """For each class the share of it that each copy has, drawn from Dirichlet(alpha, …, alpha).

    Args:
        classes: all of the job's.
        copies: how many.
        alpha: of the distribution, above 0.
        random: the source of chance.

    Returns:
        By class an array of shape (copies,), float64, that adds up to one.
    """
    return {name: random.dirichlet(np.full(copies, alpha)) for name in sorted(classes)}


def skewed_shares(labels: Sequence[str], shares: Shares, random: np.random.Generator) -> list[Indices]:
    """Sorted indices of each copy's records, class by class after ``shares``; a copy may have none.

    Args:
        labels: the class of each record.
        shares: see `class_shares`.
        random: decides which records of a class a copy has.
    """
    copies = len(next(iter(shares.values())))
    found: list[list[Indices]] = [[] for _ in range(copies)]
    classes = np.array(labels, dtype=object)
    for name, share in sorted(shares.items()):
        chosen = random.permutation(np.flatnonzero(classes == name))
        bounds = np.rint(np.cumsum(share)[:-1] * len(chosen)).astype(np.int64)
        for copy, part in enumerate(np.split(chosen, bounds)):
            found[copy].append(part)
    return [np.sort(np.concatenate(parts)) for parts in found]


def none_empty(shares: list[Indices]) -> list[Indices]:
    """``shares``, with a record for each copy that has none, taken from the one that has most.

    Raises:
        ValueError: where there are fewer records than copies.
    """
    if sum(len(share) for share in shares) < len(shares):
        raise ValueError("there are fewer records than copies")
    filled = list(shares)
    for copy, share in enumerate(filled):
        if not len(share):
            most = max(range(len(filled)), key=lambda other: len(filled[other]))
            filled[copy], filled[most] = filled[most][-1:], filled[most][:-1]
    return filled
