# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.vectors import BLOCK_VALUES
from cloister.wire import Schema, flatten, unflatten
from tests.wire.vectors import gaussian, layout_of, schema_of

SCHEMA = Schema.of(layout_of(b=(3,), a=(2, 2)))


def test_tensors_are_sorted_by_name() -> None:
    assert SCHEMA.shapes == (("a", (2, 2)), ("b", (3,)))
    assert (SCHEMA.size, SCHEMA.blocks) == (7, 1)
    assert SCHEMA.places == {"a": slice(0, 4), "b": slice(4, 7)}


def test_blocks_are_counted() -> None:
    schema = schema_of(2 * BLOCK_VALUES + 5)
    assert schema.blocks == 3
    assert [schema.count(number) for number in range(4)] == [BLOCK_VALUES, BLOCK_VALUES, 5, 0]
    assert Schema(()).blocks == 0


def test_the_digest_is_of_names_and_shapes() -> None:
    assert len(SCHEMA.digest) == 16
    assert SCHEMA.digest == Schema.of(layout_of(a=(2, 2), b=(3,))).digest
    others = [layout_of(a=(4,), b=(3,)), layout_of(a=(2, 2), c=(3,)), layout_of(a=(2, 2)), layout_of()]
    assert SCHEMA.digest not in {Schema.of(other).digest for other in others}


def test_tensors_go_into_a_vector_and_back() -> None:
    arrays = {"b": gaussian(3, 1), "a": np.asfortranarray(gaussian(4, 2).reshape(2, 2))}
    vector = flatten(arrays, SCHEMA)
    np.testing.assert_array_equal(vector, np.concatenate((arrays["a"].ravel(), arrays["b"])))
    back = unflatten(vector, SCHEMA)
    assert list(back) == ["a", "b"]
    for name, array in back.items():
        np.testing.assert_array_equal(array, arrays[name])
    back["a"][0, 0] = 7
    assert vector[0] == 7


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_become_float32_without_loss(dtype: type) -> None:
    arrays = {"a": gaussian(4).reshape(2, 2).astype(dtype), "b": gaussian(3).astype(dtype)}
    vector = flatten(arrays, SCHEMA)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector[:4], arrays["a"].ravel().astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 2), np.float32)}, "tensor `b` is missing"),
        ({"a": np.zeros((2, 2), np.float32), "c": np.zeros(3, np.float32)}, "tensor `b` is missing"),
        (
            {"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float32), "c": np.zeros(3, np.float32)},
            "some tensors are not part of this round",
        ),
        (
            {"a": np.zeros((4,), np.float32), "b": np.zeros(3, np.float32)},
            "tensor `a` is not float32, float16 or bfloat16 of shape [2, 2]",
        ),
        (
            {"a": np.zeros((2, 2), np.float64), "b": np.zeros(3, np.float32)},
            "tensor `a` is not float32, float16 or bfloat16 of shape [2, 2]",
        ),
    ],
)
def test_other_tensors_are_refused(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(EgressError) as caught:
        flatten(arrays, SCHEMA)
    assert str(caught.value) == message


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(EgressError) as caught:
        unflatten(gaussian(8), SCHEMA)
    assert str(caught.value) == "the update has 8 values where 7 belong"
