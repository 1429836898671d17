# SPDX-License-Identifier: Apache-2.0
"""The sum of the sites' products, taken apart into factors of the job's rank again.

What is kept is the best approximation of that rank (Eckart and Young, https://doi.org/10.1007/BF02288367; as FlexLoRA
does with dense matrices, https://arxiv.org/abs/2402.11505): all of the sum, where its rank is no higher.

Of the many factors with one product those are taken that training goes on from as it did before. The rows of A are
orthonormal but for a scale, as nearly those are that A is drawn with, and B has the singular values. The scale is that
of the former A, since the learning rate was chosen for it. And the rows are turned so that both factors are as near
to the former ones as a turn brings them (orthogonal Procrustes problem, Schönemann,
https://doi.org/10.1007/BF02289451): so what goes down is a small change, and a server's momentum keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cloister.aggregation.factors.decomposition import Decomposition, decomposed, length, side_by_side
from cloister.aggregation.factors.pairs import Combined, Matrix, Trained, in_order, mean_of, pairs_of, rest_of
from cloister.jobs.adapter import Arrays


def refactored(current: Arrays, trained: Sequence[Trained]) -> Combined:
    """The next round's factors; what is no factor is averaged.

    A site may have a lower rank than ``current``, see `lifted`.

    Args:
        current: of the round that ends, with factors of the job's rank.
        trained: of each site.

    Raises:
        ValueError: where there is no update, a site comes twice, a weight is not above 0, a site's rank is above the
            job's, or the factors no longer fit float32.
    """
    known, shares = in_order([replace(each, arrays=lifted(current, each.arrays)) for each in trained])
    arrays, cut_off = mean_of(rest_of(current), known), {}
    for pair in pairs_of(current):
        b, a = pair.of(current)
        product = decomposed(
            *side_by_side((share, *pair.of(each.arrays)) for share, each in zip(shares, known, strict=True))
        )
        arrays[pair.b], arrays[pair.a] = _nearest(product, b, a, _scale_of(a))
        cut_off[pair.layer] = product.behind(len(a))
    return Combined(arrays, cut_off)


def for_site(current: Arrays, rank: int) -> Arrays:
    """``current`` as a site of a lower ``rank`` is given it: the products' largest singular directions.

    Raises:
        ValueError: where ``rank`` is above that of ``current``, or not above 0.
    """
    arrays = {name: current[name] for name in rest_of(current)}
    for pair in pairs_of(current):
        b, a = pair.of(current)
        if not 0 < rank <= len(a):
            raise ValueError(f"factors of rank {len(a)} cannot be given with rank {rank}")
        if rank == len(a):
            arrays[pair.b], arrays[pair.a] = current[pair.b], current[pair.a]
        else:
            arrays[pair.b], arrays[pair.a] = _nearest(decomposed(b, a), b[:, :rank], a[:rank], _scale_of(a))
    return arrays


def lifted(current: Arrays, arrays: Arrays) -> Arrays:
    """``arrays`` of a site with a lower rank, with those directions behind them that the site was not given.

    So they have the rank of ``current``, and count as if the site had sent those directions back unchanged. Without
    them they would fade from round to round by the site's share.

    Args:
        current: of which the site was given what `for_site` makes of it.
        arrays: what the site has after its training.

    Raises:
        ValueError: where the site's rank is above that of ``current``.
    """
    whole = dict(arrays)
    for pair in pairs_of(current):
        rank, wanted = len(arrays[pair.a]), len(current[pair.a])
        if rank > wanted:
            raise ValueError(f"a site has rank {rank} and the job {wanted}")
        if rank < wanted:
            product = decomposed(*pair.of(current))
            # Split alike, so that both fit float32; where the product has no more directions, zeros do no harm.
            root = np.sqrt(product.values[rank:])
            missing = wanted - rank - len(root)
            behind_b = np.pad(product.left[:, rank:] * root, ((0, 0), (0, missing)))
            behind_a = np.pad(root[:, None] * product.right[rank:], ((0, missing), (0, 0)))
            whole[pair.b] = np.hstack([arrays[pair.b], behind_b.astype(np.float32)])
            whole[pair.a] = np.vstack([arrays[pair.a], behind_a.astype(np.float32)])
    return whole


def _scale_of(a: Matrix) -> float:
    """By which orthonormal rows, as many as fit, are as long together as those of ``a``; 1 where that is zero."""
    return length(a.ravel()) / min(a.shape) ** 0.5 or 1.0


def _nearest(product: Decomposition, b: Matrix, a: Matrix, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Factors of ``product``, as far as the rank of ``b`` and ``a`` reaches, that are near to these two.

    Args:
        product: what they shall be factors of.
        b: (output, rank).
        a: (rank, input).
        scale: of the rows of the new A.

    Raises:
        ValueError: where they do not fit float32.
    """
    rank, width = a.shape
    kept = min(rank, product.rank)
    directions = np.zeros((rank, width))
    directions[: min(rank, width)] = _completed(product.right[:kept], a)
    columns = np.zeros((len(b), rank))
    columns[:, :kept] = product.left[:, :kept] * product.values[:kept]
    x, _, y = np.linalg.svd(scale * (a @ directions.T) + b.T @ columns / scale)
    turn = x @ y
    with np.errstate(over="ignore"):
        near = (columns @ turn.T / scale).astype(np.float32), (scale * (turn @ directions)).astype(np.float32)
    if not all(np.isfinite(factor).all() for factor in near):
        raise ValueError("the sites' factors are too large to be taken apart in float32")
    return near


def _completed(rows: Matrix, a: Matrix) -> Matrix:
    """Orthonormal ``rows`` and as many more as the smallest dimension of ``a`` is, from what ``a`` has beside them.

    A direction that no product has yet must not be zero in A: nothing would ever be learnt in it.
    """
    missing = min(a.shape) - len(rows)
    beside = a - (a @ rows.T) @ rows
    more = np.linalg.svd(beside / (np.max(np.abs(beside)) or 1.0), full_matrices=False)[2][:missing]
    # Householder's reflections give whole columns, even where what is beside has less directions than are missing.
    whole = np.linalg.qr(np.vstack([rows, more]).T)[0].T
    return np.vstack([rows, whole[len(rows) :]])
