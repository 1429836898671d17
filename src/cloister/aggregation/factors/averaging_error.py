# SPDX-License-Identifier: Apache-2.0
"""How far the product of the mean factors is from the mean of the products: what FedIT gets wrong in a round.

The difference is the factors' covariance over the sites, mean((B_k - mean B) (A_k - mean A)), in which nothing large
cancels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cloister.aggregation.factors.decomposition import product_norm, side_by_side
from cloister.aggregation.factors.pairs import Matrix, Pair, Trained, in_order, pairs_of


def averaging_error(trained: Sequence[Trained]) -> float:
    """The Frobenius norm of that difference over that of the mean of the products, over all layers together.

    Factors of a lower rank count as if zeros stood behind them (HetLoRA, https://arxiv.org/abs/2401.06432).

    Returns:
        0 or above; 0 where there is no product at all.

    Raises:
        ValueError: where there is no update, a site comes twice, or a weight is not above 0.
    """
    known, shares = in_order(trained)
    norms = [_of_layer(pair, known, shares) for pair in pairs_of(known[0].arrays)]
    wrong, whole = (float(np.linalg.norm([each[i] for each in norms])) for i in (0, 1))
    return wrong / whole if whole else 0.0


def _of_layer(pair: Pair, trained: Sequence[Trained], shares: Sequence[float]) -> tuple[float, float]:
    """Norms of the difference and of the mean of the products."""
    factors = [pair.of(each.arrays) for each in trained]
    rank = max(len(a) for _, a in factors)
    padded = [(_wider(b, rank), _wider(a.T, rank).T) for b, a in factors]
    # From the first site's factors, so that where all have the same nothing is left of rounding either.
    first_b, first_a = padded[0]
    offsets = [(b - first_b, a - first_a) for b, a in padded]
    mean_b = sum((share * b for share, (b, _) in zip(shares, offsets, strict=True)), np.zeros_like(first_b))
    mean_a = sum((share * a for share, (_, a) in zip(shares, offsets, strict=True)), np.zeros_like(first_a))
    apart = side_by_side((share, b - mean_b, a - mean_a) for share, (b, a) in zip(shares, offsets, strict=True))
    whole = side_by_side((share, b, a) for share, (b, a) in zip(shares, padded, strict=True))
    return product_norm(*apart), product_norm(*whole)


def _wider(columns: Matrix, width: int) -> Matrix:
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])))
