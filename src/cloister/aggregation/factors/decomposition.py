# SPDX-License-Identifier: Apache-2.0
"""The singular values and directions of a product B A that is never written out.

Both factors are brought to orthonormal columns by QR, so that what remains is a core no larger than they are narrow
(Golub and Van Loan, Matrix Computations, section 8.6); of factors that stand side by side the product is the sum of
products.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloister.aggregation.factors.pairs import Matrix

_NOISE = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Decomposition:
    """U S V of an (m, n) product; k of them, at most as many as the smallest of m, n and the inner dimension.

    Attributes:
        left: U, (m, k), orthonormal columns.
        values: the diagonal of S, (k,), falling.
        right: V, (k, n), orthonormal rows; the largest entry of each is positive, so that the same product has the
            same directions.
    """

    left: Matrix
    values: Matrix
    right: Matrix

    @property
    def norm(self) -> float:
        """Frobenius norm of the product."""
        return length(self.values)

    @property
    def rank(self) -> int:
        """How many values stand out of the rounding of float64."""
        if not self.values.size or not self.values[0]:
            return 0
        floor = self.values[0] * _NOISE * max(len(self.left), self.right.shape[1])
        return int(np.count_nonzero(self.values > floor))

    def behind(self, rank: int) -> float:
        """The share of the norm that the values behind the first ``rank`` have, 0 to 1."""
        return length(self.values[rank:]) / self.norm if self.norm else 0.0


def decomposed(b: Matrix, a: Matrix) -> Decomposition:
    """The singular values and directions of ``b`` @ ``a``.

    Args:
        b: (m, R), finite.
        a: (R, n), finite.
    """
    (b, b_exponent), (a, a_exponent) = _near_one(b), _near_one(a)
    left, b_core = np.linalg.qr(b)
    right, a_core = np.linalg.qr(a.T)
    u, values, v = np.linalg.svd(b_core @ a_core.T, full_matrices=False)
    rows = v @ right.T
    signs = signs_of(rows)
    # Powers of two, by which nothing is rounded.
    return Decomposition((left @ u) * signs, np.ldexp(values, b_exponent + a_exponent), rows * signs[:, None])


def side_by_side(products: Iterable[tuple[float, Matrix, Matrix]]) -> tuple[Matrix, Matrix]:
    """Factors of the sum of ``weight * b @ a`` over ``products``."""
    weighted = [(weight * b, a) for weight, b, a in products]
    return np.hstack([b for b, _ in weighted]), np.vstack([a for _, a in weighted])


def product_norm(b: Matrix, a: Matrix) -> float:
    """Frobenius norm of ``b`` @ ``a``, without writing it out."""
    (b, b_exponent), (a, a_exponent) = _near_one(b), _near_one(a)
    core = np.linalg.qr(b)[1] @ np.linalg.qr(a.T)[1].T
    return float(np.ldexp(np.linalg.norm(core), b_exponent + a_exponent))


def length(values: Matrix) -> float:
    """Euclidean length; that of large or small values too, whose squares float64 does not hold."""
    scaled, exponent = _near_one(values)
    return float(np.ldexp(np.sqrt(np.sum(scaled * scaled)), exponent))


def signs_of(rows: Matrix) -> Matrix:
    """Of each of ``rows`` the sign of its entry that is largest without it; 1 for a row of zeros."""
    largest = np.take_along_axis(rows, np.argmax(np.abs(rows), axis=1)[:, None], axis=1)[:, 0]
    return np.where(largest < 0, -1.0, 1.0)


def _near_one(values: Matrix) -> tuple[Matrix, int]:
    """``values`` by a power of two that brings the largest to between 1/2 and 1, and the power."""
    largest = float(np.max(np.abs(values), initial=0.0))
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(values, -exponent), exponent
