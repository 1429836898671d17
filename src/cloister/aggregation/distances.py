# SPDX-License-Identifier: Apache-2.0
"""How far the updates of a round lie from each other, by their inner products, in float64.

All distances follow from the inner products of all pairs, which one pass over the updates' blocks gives; no update has
to be in memory. In float64 neither squares of 3e38 nor sums of them come near its end. What two updates share is lost
in its rounding: a distance below 1e-8 of the updates' norm reads as about 1e-8 of it, or as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.stretches import PIECE_VALUES, stretches
from cloister.in_order import in_order
from cloister.vectors import Vector, blocks_of

_SMALL_PIECE_VALUES = 1 << 13  # few enough that BLAS starts no threads of its own beside ours

Matrix = npt.NDArray[np.float64]


def inner_products(contributions: Sequence[Contribution]) -> Matrix:
    """The inner product of each update with each, float64, of shape (updates, updates), symmetric.

    Memory holds one stretch of every update, see `stretches`.
    """
    products = np.zeros((len(contributions), len(contributions)))
    for number in range(blocks_of(contributions[0].update.size)):
        for rows in stretches(contributions, number):
            for start in range(0, rows[0].size, PIECE_VALUES):
                piece = np.stack([row[start : start + PIECE_VALUES] for row in rows]).astype(np.float64)
                products += piece @ piece.T
    return products


def squared_distances(products: Matrix) -> Matrix:
    """The squared Euclidean distance of each update from each, from their `inner_products`."""
    norms = np.diag(products)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2 * products, 0.0)
    np.fill_diagonal(squares, 0.0)
    return squares


def norms(contributions: Sequence[Contribution]) -> list[float]:
    """The Euclidean norm of each update, in float64; memory holds one block for each thread."""
    blocks = blocks_of(contributions[0].update.size)
    squares = np.zeros(len(contributions))
    for place, square in enumerate(
        in_order(
            lambda number: _square(contributions[number // blocks].update.block(number % blocks)),
            blocks * len(contributions),
        )
    ):
        squares[place // blocks] += square
    return [float(norm) for norm in np.sqrt(squares)]


def _square(values: Vector) -> float:
    total = 0.0
    for start in range(0, values.size, _SMALL_PIECE_VALUES):
        piece = values[start : start + _SMALL_PIECE_VALUES].astype(np.float64)
        total += float(piece @ piece)
    return total
