# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from cloister.vectors import BLOCK_VALUES
from cloister.wire import Schema
from cloister.wire.residual import Residual
from tests.wire.vectors import gaussian, layout_of

SCHEMA = Schema.of(layout_of(a=(100,), b=(BLOCK_VALUES,), c=(7,)))  # b lies in both blocks


def test_what_is_kept_is_added_where_it_was() -> None:
    residual, left = Residual(), gaussian(SCHEMA.size)
    residual.make_room(SCHEMA)
    for number in range(SCHEMA.blocks):
        start = number * BLOCK_VALUES
        residual.keep(SCHEMA, number, left[start : start + SCHEMA.count(number)])
    for number in range(SCHEMA.blocks):
        block = np.ones(SCHEMA.count(number), np.float32)
        residual.add_to(block, SCHEMA, number)
        np.testing.assert_array_equal(block, 1 + left[number * BLOCK_VALUES :][: block.size])


def test_it_follows_a_tensor_into_another_schema() -> None:
    residual = Residual()
    residual.make_room(SCHEMA)
    residual.keep(SCHEMA, 1, np.arange(107, dtype=np.float32))
    other = Schema.of(layout_of(c=(7,), d=(3,)))
    block = np.zeros(10, np.float32)
    residual.add_to(block, other, 0)
    np.testing.assert_array_equal(block, [*range(100, 107), 0, 0, 0])


def test_a_tensor_of_another_size_is_another_tensor() -> None:
    residual = Residual()
    residual.make_room(Schema.of(layout_of(c=(7,))))
    residual.keep(Schema.of(layout_of(c=(7,))), 0, np.ones(7, np.float32))
    block = np.zeros(8, np.float32)
    residual.add_to(block, Schema.of(layout_of(c=(8,))), 0)
    np.testing.assert_array_equal(block, 0)


def test_making_room_again_forgets_nothing() -> None:
    residual, block = Residual(), np.zeros(100, np.float32)
    residual.make_room(SCHEMA)
    residual.keep(SCHEMA, 0, gaussian(BLOCK_VALUES))
    residual.make_room(SCHEMA)
    residual.add_to(block, Schema.of(layout_of(a=(100,))), 0)
    np.testing.assert_array_equal(block, gaussian(BLOCK_VALUES)[:100])
