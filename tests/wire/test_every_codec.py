# SPDX-License-Identifier: Apache-2.0
"""What holds of every codec: the contract in `cloister.wire.codec`."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import EgressError
from cloister.jobs.compression import CodecName
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.wire import CODECS, Codec
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian, vectors

EVERY = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
SIZES = (1, 2, 3, 255, 256, 257, 65_535, 65_536, 65_537, BLOCK_VALUES - 1, BLOCK_VALUES)


def there_and_back(codec: Codec, block: Vector, seed: int = 1) -> Vector:
    piece = codec.encode(block, generator(seed, 0))
    assert len(piece) <= codec.largest(block.size)
    return codec.decode(piece, block.size)


def assert_within_bound(codec: Codec, block: Vector, values: Vector) -> None:
    error = np.abs(values.astype(np.float64) - block)
    assert (error <= codec.error_bound(block)).all()


def test_there_is_one_for_each_name_a_job_can_give() -> None:
    assert tuple(CODECS) == get_args(CodecName)
    assert [codec.name for codec in CODECS.values()] == list(CODECS)
    assert len({codec.number for codec in CODECS.values()}) == len(CODECS)


def test_numbers_that_were_given_keep_their_meaning() -> None:
    assert {codec.name: codec.number for codec in CODECS.values()} == {
        "float32": 1,
        "bfloat16": 2,
        "float16": 3,
        "int8": 4,
        "int4": 5,
    }


@EVERY
@given(data=st.data(), seed=st.integers(0, 2**128 - 1))
def test_what_comes_back_is_as_near_as_stated(codec: Codec, data: st.DataObject, seed: int) -> None:
    block = data.draw(vectors(codec.limit))
    assert_within_bound(codec, block, there_and_back(codec, block, seed))


@EVERY
@pytest.mark.parametrize("size", SIZES)
def test_blocks_of_every_length_come_back(codec: Codec, size: int) -> None:
    block = gaussian(size, size)
    values = there_and_back(codec, block)
    assert values.shape == (size,)
    assert values.dtype == np.float32
    assert_within_bound(codec, block, values)


@EVERY
@pytest.mark.parametrize("exponent", [-149, -140, -127, -126, -100, -24, 0, 10, 15, 100, 126])
def test_values_of_every_magnitude_come_back(codec: Codec, exponent: int) -> None:
    block = gaussian(1000) / np.float32(4)
    block = np.ldexp(block / np.abs(block).max(), exponent).astype(np.float32)
    if np.abs(block).max() <= codec.limit:
        assert_within_bound(codec, block, there_and_back(codec, block))


@EVERY
def test_the_largest_values_come_back_finite(codec: Codec) -> None:
    block = np.array([codec.limit, -codec.limit, 0.0], np.float32)
    assert_within_bound(codec, block, there_and_back(codec, block))


@EVERY
def test_zeros_are_zeros_and_take_little(codec: Codec) -> None:
    block = np.zeros(BLOCK_VALUES, np.float32)
    np.testing.assert_array_equal(there_and_back(codec, block), block)
    mixed = np.where(np.arange(5000) % 7, np.float32(0), gaussian(5000))
    np.testing.assert_array_equal(there_and_back(codec, mixed)[mixed == 0], 0)


@EVERY
def test_the_block_is_left_as_it_is_and_what_comes_back_may_be_written_into(codec: Codec) -> None:
    block = gaussian(700)
    before = block.copy()
    block.flags.writeable = False
    piece = codec.encode(block, generator(1, 0))
    first, second = codec.decode(piece, block.size), codec.decode(memoryview(piece), block.size)
    first[...] = 0
    np.testing.assert_array_equal(block, before)
    np.testing.assert_array_equal(codec.decode(piece, block.size), second)


@EVERY
def test_the_same_seed_gives_the_same_bytes(codec: Codec) -> None:
    block = gaussian(100_000)
    first, again, other = (codec.encode(block, generator(seed, 0)) for seed in (1, 1, 2))
    assert first == again
    assert (first != other) == codec.name.startswith("int")


@EVERY
def test_other_counts_are_refused(codec: Codec) -> None:
    piece = codec.encode(gaussian(600), generator(1, 0))
    for count in (1, 256, 512, 598, 602, 1200, BLOCK_VALUES):  # of 599 and 600 int4 has as many bytes
        with pytest.raises(EgressError):
            codec.decode(piece, count)


@EVERY
def test_every_cut_and_every_addition_is_refused(codec: Codec) -> None:
    piece = codec.encode(gaussian(300), generator(1, 0))
    for cut in range(len(piece)):
        with pytest.raises(EgressError):
            codec.decode(piece[:cut], 300)
    for more in (b"\0", b"\xff", piece):
        with pytest.raises(EgressError):
            codec.decode(piece + more, 300)


@EVERY
@given(data=st.data())
def test_changed_bits_make_values_or_a_refusal_and_nothing_else(codec: Codec, data: st.DataObject) -> None:
    piece = bytearray(codec.encode(gaussian(300), generator(1, 0)))
    for place in data.draw(st.lists(st.integers(0, 8 * len(piece) - 1), min_size=1, max_size=4)):
        piece[place // 8] ^= 1 << place % 8
    try:
        values = codec.decode(bytes(piece), 300)
    except EgressError:
        return
    assert values.shape == (300,)
    assert np.isfinite(values).all()


@EVERY
@given(piece=st.binary(max_size=400), count=st.integers(1, 300))
def test_any_bytes_make_values_or_a_refusal(codec: Codec, piece: bytes, count: int) -> None:
    try:
        values = codec.decode(piece, count)
    except EgressError:
        return
    assert values.shape == (count,)
    assert np.isfinite(values).all()
