# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.aggregation.factors.decomposition import decomposed, length, product_norm, side_by_side, signs_of
from tests.aggregation.factors.drawn import seeds

dimensions = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 30))


def factors(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    output, width, rank = shape
    random = np.random.Generator(np.random.PCG64(seed))
    return random.normal(size=(output, rank)), random.normal(size=(rank, width))


@given(dimensions, seeds)
def test_it_is_the_decomposition_of_the_written_out_product(shape: tuple[int, int, int], seed: int) -> None:
    b, a = factors(shape, seed)
    found = decomposed(b, a)
    count = min(shape)
    assert found.left.shape == (shape[0], count) and found.right.shape == (count, shape[1])
    np.testing.assert_allclose(found.values, np.linalg.svd(b @ a)[1][:count], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose((found.left * found.values) @ found.right, b @ a, atol=1e-10)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(found.right @ found.right.T, np.eye(count), atol=1e-12)
    assert (np.diff(found.values) <= 0).all()
    assert (signs_of(found.right) == 1).all()
    assert found.rank <= count
    assert found.norm == pytest.approx(np.linalg.norm(b @ a)) == pytest.approx(product_norm(b, a))
    assert found.behind(0) == pytest.approx(1) and found.behind(count) == 0


@given(seeds, st.sampled_from([1e-30, 1e-15, 1.0, 1e15, 1e30]), st.sampled_from([1e-30, 1.0, 1e30]))
def test_scale_is_no_matter(seed: int, of_b: float, of_a: float) -> None:
    b, a = factors((5, 7, 3), seed)
    plain, scaled = decomposed(b, a), decomposed(b * of_b, a * of_a)
    np.testing.assert_allclose(scaled.values, plain.values * (of_b * of_a), rtol=1e-12)
    np.testing.assert_allclose(scaled.right, plain.right, atol=1e-9)
    assert scaled.rank == plain.rank
    assert product_norm(b * of_b, a * of_a) == pytest.approx(plain.norm * (of_b * of_a))


def test_of_nothing_there_are_directions_and_no_rank() -> None:
    found = decomposed(np.zeros((4, 2)), np.zeros((2, 5)))
    assert found.rank == 0 and found.norm == 0 and found.behind(0) == 0
    assert np.isfinite(found.left).all() and np.isfinite(found.right).all()
    np.testing.assert_allclose(found.right @ found.right.T, np.eye(2), atol=1e-12)


def test_a_repeated_value_and_a_deficient_factor_have_their_rank() -> None:
    b = np.vstack([np.eye(3), np.zeros((2, 3))])
    assert decomposed(b, np.eye(3)).rank == 3
    b[:, 2] = b[:, 0] + b[:, 1]
    assert decomposed(b, np.eye(3)).rank == 2


def test_factors_side_by_side_are_a_sum() -> None:
    one, two = factors((4, 6, 2), 0), factors((4, 6, 3), 1)
    b, a = side_by_side([(0.25, *one), (0.75, *two)])
    np.testing.assert_allclose(b @ a, 0.25 * (one[0] @ one[1]) + 0.75 * (two[0] @ two[1]), atol=1e-12)


def test_a_sign_is_that_of_the_largest_entry() -> None:
    assert signs_of(np.array([[1.0, -3.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 0.0]])).tolist() == [-1, 1, -1]


def test_a_length_is_that_of_values_whose_squares_do_not_fit() -> None:
    assert length(np.array([3e200, 4e200])) == pytest.approx(5e200)
    assert length(np.array([3e-200, 4e-200])) == pytest.approx(5e-200)
    assert length(np.zeros(3)) == 0
