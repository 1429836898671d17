# SPDX-License-Identifier: Apache-2.0
"""B is trained beside an A that all sites share, and after each round the rows of A are made orthonormal anew.

This is FedSVD (https://arxiv.org/abs/2505.12805, algorithm 1). Beside a shared A the mean of B gives the mean of the
products, so that nothing is lost. The rows of A span what they spanned before, also where B has not yet learnt anything
in a direction: so the new A is a turn of the former one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cloister.aggregation.factors.decomposition import signs_of
from cloister.aggregation.factors.pairs import Combined, Matrix, Trained, mean_of, pairs_of, rest_of
from cloister.jobs.adapter import Arrays


def fedsvd(current: Arrays, trained: Sequence[Trained]) -> Combined:
    """The next round's factors; what is no factor is averaged.

    Args:
        current: of the round that ends, with the A that all trained beside.
        trained: of each site; its A is not looked at.

    Raises:
        ValueError: where there is no update, a site comes twice, or a weight is not above 0.
    """
    pairs = pairs_of(current)
    means = mean_of([*rest_of(current), *(pair.b for pair in pairs)], trained)
    arrays = orthonormal({**means, **{pair.a: current[pair.a] for pair in pairs}})
    return Combined(arrays, dict.fromkeys((pair.layer for pair in pairs), 0.0))


def orthonormal(arrays: Arrays) -> Arrays:
    """``arrays`` with every product B A taken apart so that A has orthonormal rows and B the singular values.

    Whatever rule combined B, this may follow it. The rows of A stand by falling singular values; where there are more
    rows than columns, those that are too many are zero.
    """
    apart = dict(arrays)
    for pair in pairs_of(arrays):
        b, a = pair.of(arrays)
        new_b, new_a = _orthonormal(b, a)
        apart[pair.b], apart[pair.a] = new_b.astype(np.float32), new_a.astype(np.float32)
    return apart


def _orthonormal(b: Matrix, a: Matrix) -> tuple[Matrix, Matrix]:
    basis, core = np.linalg.qr(a.T)
    # All of V, so that directions without a singular value stay directions of A.
    left, values, turn = np.linalg.svd(b @ core.T, full_matrices=True)
    count = len(values)
    rows = turn @ basis.T
    signs = signs_of(rows)
    new_b, new_a = np.zeros_like(b), np.zeros_like(a)
    new_a[: len(rows)] = rows * signs[:, None]
    new_b[:, :count] = left[:, :count] * values * signs[:count]
    return new_b, new_a
