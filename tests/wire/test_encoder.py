# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import EgressError
from cloister.vectors import BLOCK_VALUES, ArraySource
from cloister.wire import CODECS, Codec, EncodedVector, Encoder, Schema, largest_encoding
from tests.wire.vectors import gaussian, layout_of, schema_of

EVERY = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
QUANTISED = pytest.mark.parametrize("codec", [CODECS["int8"], CODECS["int4"]], ids=["int8", "int4"])
TWO_BLOCKS = BLOCK_VALUES + 1000


@EVERY
def test_the_receiver_reads_what_the_sender_says_it_will(codec: Codec) -> None:
    vector, schema = gaussian(TWO_BLOCKS), schema_of(TWO_BLOCKS)
    encoded = Encoder(codec, error_feedback=True).encode(vector, schema, 5)
    read = EncodedVector.open(encoded.content, codec, schema)
    np.testing.assert_array_equal(np.concatenate([read.block(0), read.block(1)]), encoded.values)
    assert len(encoded.content) <= largest_encoding(codec, schema)


@EVERY
def test_pieces_are_the_same_bytes(codec: Codec) -> None:
    vector, schema = gaussian(TWO_BLOCKS), schema_of(TWO_BLOCKS)
    whole = Encoder(codec, error_feedback=False).encode(vector, schema, 5)
    pieces = list(Encoder(codec, error_feedback=False).pieces(ArraySource(vector), schema, 5))
    assert b"".join(piece.content for piece in pieces) == whole.content
    np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), whole.values)


@EVERY
def test_the_vector_is_left_as_it_is(codec: Codec) -> None:
    vector, schema = gaussian(1000), schema_of(1000)
    before = vector.copy()
    encoder = Encoder(codec, error_feedback=True)
    for seed in range(3):
        encoder.encode(vector, schema, seed)
    np.testing.assert_array_equal(vector, before)


@EVERY
def test_an_empty_vector_is_a_header(codec: Codec) -> None:
    encoded = Encoder(codec, error_feedback=True).encode(np.empty(0, np.float32), Schema(()), 1)
    assert len(encoded.content) == 22
    EncodedVector.open(encoded.content, codec, Schema(())).check()


@QUANTISED
def test_every_block_and_every_seed_rounds_otherwise(codec: Codec) -> None:
    block = gaussian(BLOCK_VALUES)
    twice, schema = np.concatenate((block, block)), schema_of(2 * BLOCK_VALUES)
    values = Encoder(codec, error_feedback=False).encode(twice, schema, 1).values
    other = Encoder(codec, error_feedback=False).encode(twice, schema, 2).values
    assert (values[:BLOCK_VALUES] != values[BLOCK_VALUES:]).mean() > 0.2
    assert (values != other).mean() > 0.2


@EVERY
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_before_anything_is_given_out(codec: Codec, wrong: float) -> None:
    vector, schema = gaussian(TWO_BLOCKS), schema_of(TWO_BLOCKS)
    vector[-1] = wrong
    given_out = []
    with pytest.raises(EgressError) as caught:
        given_out.extend(Encoder(codec, error_feedback=True).pieces(ArraySource(vector), schema, 1))
    assert str(caught.value) == f"the update of tensor `{max(schema.places)}` holds a value that is not finite"
    assert given_out == []


@pytest.mark.parametrize("name", ["bfloat16", "float16", "int8", "int4"])
def test_a_value_that_is_too_large_is_refused(name: str) -> None:
    codec = next(codec for codec in CODECS.values() if codec.name == name)
    vector = np.array([0.0, -np.nextafter(np.float32(codec.limit), np.float32(np.inf))], np.float32)
    with pytest.raises(EgressError) as caught:
        Encoder(codec, error_feedback=False).encode(vector, schema_of(2), 1)
    assert str(caught.value) == (
        f"the update holds a value above {codec.limit:g}, the largest in the form `{name}`"
        " (name another form under `compression`)"
    )


@EVERY
def test_other_lengths_and_types_are_refused(codec: Codec) -> None:
    encoder = Encoder(codec, error_feedback=True)
    encoder.encode(gaussian(10), schema_of(10), 1)
    for vector in (gaussian(9), gaussian(11), gaussian(0)):
        with pytest.raises(EgressError):
            encoder.encode(vector, schema_of(10), 1)
    for other in (gaussian(10).astype(np.float64), gaussian(10).reshape(2, 5)):
        with pytest.raises(EgressError):
            encoder.encode(other, schema_of(10), 1)


@QUANTISED
def test_a_refusal_leaves_what_was_left_over(codec: Codec) -> None:
    schema = schema_of(TWO_BLOCKS)
    one, other = (Encoder(codec, error_feedback=True) for _ in range(2))
    for encoder in (one, other):
        encoder.encode(gaussian(TWO_BLOCKS), schema, 1)
    bad = gaussian(TWO_BLOCKS)
    bad[-1] = np.nan
    with pytest.raises(EgressError):
        one.encode(bad, schema, 2)
    vector = gaussian(TWO_BLOCKS, 3)
    assert one.encode(vector, schema, 3).content == other.encode(vector, schema, 3).content


@QUANTISED
@given(seed=st.integers(0, 1000), rounds=st.integers(2, 30))
def test_with_error_feedback_what_was_told_is_never_off_by_more_than_one_rounding(
    codec: Codec, seed: int, rounds: int
) -> None:
    schema, encoder = schema_of(700), Encoder(codec, error_feedback=True)
    told, meant = np.zeros(700), np.zeros(700)
    step = np.float32(0)
    for number in range(rounds):
        vector = gaussian(700, seed + number)
        left = (meant - told).astype(np.float32)
        step = codec.error_bound(vector + left)
        told += encoder.encode(vector, schema, number).values
        meant += vector
    assert (np.abs(told - meant) <= step * 1.01 + 1e-4).all()


def test_without_error_feedback_errors_pile_up() -> None:
    codec, schema, vector = CODECS["int4"], schema_of(5000), gaussian(5000)
    off = {}
    for feedback in (False, True):
        encoder = Encoder(codec, error_feedback=feedback)
        told = sum(encoder.encode(vector, schema, number).values.astype(np.float64) for number in range(100))
        off[feedback] = np.sqrt(np.mean((told - 100.0 * vector) ** 2))
    assert off[True] < off[False] / 5


@QUANTISED
def test_tensors_that_are_sent_in_turn_keep_their_own_share(codec: Codec) -> None:
    """As RoLoRA sends them: B, A, B, A."""
    only_a, only_b = Schema.of(layout_of(a=(30, 10))), Schema.of(layout_of(b=(20, 20)))
    a, b = gaussian(300, 1), gaussian(400, 2)
    together, alone = Encoder(codec, error_feedback=True), Encoder(codec, error_feedback=True)
    for seed in range(6):
        found = together.encode(b, only_b, seed)
        together.encode(a, only_a, seed)
        assert found.content == alone.encode(b, only_b, seed).content


def test_what_was_left_over_of_a_tensor_is_added_wherever_it_lies() -> None:
    codec = CODECS["int4"]
    first, second = Schema.of(layout_of(a=(256,), b=(512,))), Schema.of(layout_of(b=(512,)))
    encoder = Encoder(codec, error_feedback=True)
    vector = gaussian(768)
    left = vector - encoder.encode(vector, first, 1).values
    nothing = encoder.encode(np.zeros(512, np.float32), second, 2)
    plain = Encoder(codec, error_feedback=False).encode(left[256:], second, 2)
    assert nothing.content == plain.content


class Endless:
    """Eight blocks that are made when they are asked for."""

    size = 8 * BLOCK_VALUES

    def block(self, number: int) -> np.ndarray:
        return np.full(BLOCK_VALUES, number + 0.5, np.float32)


@EVERY
def test_a_few_blocks_are_in_memory_whatever_the_vectors_length(codec: Codec, tmp_path: Path) -> None:
    schema, path = schema_of(Endless.size), tmp_path / "update"
    tracemalloc.start()
    try:
        with path.open("wb") as stream:
            for piece in Encoder(codec, error_feedback=False).pieces(Endless(), schema, 1):
                stream.write(piece.content)
        EncodedVector.open(path, codec, schema).check()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    threads = min(4, len(os.sched_getaffinity(0)))
    assert peak < 6 * 4 * BLOCK_VALUES * threads


@EVERY
def test_a_value_at_the_limit_is_taken(codec: Codec) -> None:
    vector = np.array([codec.limit, -codec.limit, 1], np.float32)
    values = Encoder(codec, error_feedback=True).encode(vector, schema_of(3), 1).values
    assert (np.abs(values.astype(np.float64) - vector) <= codec.error_bound(vector)).all()


@EVERY
def test_what_is_kept_is_one_value_for_each_and_nothing_where_nothing_is_lost(codec: Codec) -> None:
    encoder, vector = Encoder(codec, error_feedback=True), gaussian(100_000)
    tracemalloc.start()
    try:
        encoder.encode(vector, schema_of(vector.size), 1)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert abs(kept - (0 if codec.lossless else vector.nbytes)) < 50_000
