# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import EgressError
from cloister.vectors import BLOCK_VALUES, ArraySource, Source
from cloister.wire import CODECS, Codec, EncodedVector, Encoder
from tests.wire.vectors import gaussian, schema_of

EVERY = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
SIZE = BLOCK_VALUES + 300
SCHEMA = schema_of(SIZE)
SMALL = schema_of(300)


def encoded(codec: Codec, size: int = SIZE) -> bytes:
    return Encoder(codec, error_feedback=False).encode(gaussian(size), schema_of(size), 1).content


@EVERY
def test_file_and_bytes_hold_the_same_source(codec: Codec, tmp_path: Path) -> None:
    content = encoded(codec)
    (tmp_path / "update").write_bytes(content)
    sources: list[Source] = [
        EncodedVector.open(content, codec, SCHEMA),
        EncodedVector.open(tmp_path / "update", codec, SCHEMA),
        ArraySource(Encoder(codec, error_feedback=False).encode(gaussian(SIZE), SCHEMA, 1).values),
    ]
    for number in (0, 1, 0):
        blocks = [source.block(number) for source in sources]
        for block in blocks:
            np.testing.assert_array_equal(block, blocks[0])
            assert block.dtype == np.float32
        for block in blocks:
            block[...] = 0
    assert {source.size for source in sources} == {SIZE}


@EVERY
def test_every_cut_and_every_addition_is_refused(codec: Codec, tmp_path: Path) -> None:
    content, path = encoded(codec, 300), tmp_path / "update"
    for cut in range(len(content)):
        with pytest.raises(EgressError):
            EncodedVector.open(content[:cut], codec, SMALL)
    for wrong in (content + b"\0", content + content, content[:-1], content[:30], b""):
        path.write_bytes(wrong)
        with pytest.raises(EgressError):
            EncodedVector.open(path, codec, SMALL)


@EVERY
def test_what_is_wrong_with_the_length_is_said(codec: Codec) -> None:
    content = encoded(codec, 300)
    for wrong, message in {
        content[:21]: "the update ends before its first value",
        content[:24]: "the update ends before its last value",
        content[:-1]: "the update ends before its last value",
        content + b"\0": "the update goes on after its last value",
    }.items():
        with pytest.raises(EgressError) as caught:
            EncodedVector.open(wrong, codec, SMALL)
        assert str(caught.value) == message


@EVERY
def test_another_schema_is_refused(codec: Codec) -> None:
    with pytest.raises(EgressError) as caught:
        EncodedVector.open(encoded(codec, 300), codec, schema_of(301))
    assert str(caught.value) == "the update is not of this round's tensors"


@EVERY
def test_another_codec_is_refused(codec: Codec) -> None:
    for other in CODECS.values():
        if other is not codec:
            with pytest.raises(EgressError) as caught:
                EncodedVector.open(encoded(codec, 300), other, SMALL)
            assert str(caught.value) == f"the update is not in the form `{other.name}` that the job names"


@EVERY
@given(data=st.data())
def test_changed_bits_make_values_or_a_refusal_and_nothing_else(codec: Codec, data: st.DataObject) -> None:
    content = bytearray(encoded(codec, 300))
    for place in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=4)):
        content[place // 8] ^= 1 << place % 8
    try:
        vector = EncodedVector.open(bytes(content), codec, SMALL)
        vector.check()
    except EgressError:
        return
    assert np.isfinite(vector.block(0)).all()


@EVERY
@given(content=st.binary(max_size=100))
def test_any_bytes_are_refused(codec: Codec, content: bytes) -> None:
    with pytest.raises(EgressError):
        EncodedVector.open(content, codec, SMALL)


@EVERY
def test_lengths_beyond_what_a_block_can_take_are_refused_unread(codec: Codec) -> None:
    content = bytearray(encoded(codec, 300))
    content[22:26] = (codec.largest(300) + 1).to_bytes(4, "little")
    with pytest.raises(EgressError) as caught:
        EncodedVector.open(bytes(content), codec, SMALL)
    assert str(caught.value) == "a piece of the update is longer than its tensors can be"


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_found(name: str, wrong: float) -> None:
    codec = next(codec for codec in CODECS.values() if codec.name == name)
    block = gaussian(300)
    block[7] = wrong
    piece = codec.encode(block, np.random.default_rng(1))
    content = encoded(codec, 300)[:22] + len(piece).to_bytes(4, "little") + piece
    with pytest.raises(EgressError) as caught:
        EncodedVector.open(content, codec, SMALL).check()
    assert str(caught.value) == "the update holds a value that is not finite"


def test_a_file_that_was_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "update"
    path.write_bytes(encoded(CODECS["int4"]))
    vector = EncodedVector.open(path, CODECS["int4"], SCHEMA)
    path.write_bytes(encoded(CODECS["int4"])[:1000])
    with pytest.raises(EgressError) as caught:
        vector.check()
    assert str(caught.value) == "the update ends before its last value"


def test_what_is_said_besides_values_is_less_than_two_bytes_a_tensor() -> None:
    """Of an adapter of all-MiniLM-L6-v2 with 24 tensors."""
    values = 73_728
    exact = Encoder(CODECS["float32"], error_feedback=False).encode(np.ones(values, np.float32), schema_of(values), 1)
    assert len(exact.content) - 4 * values == 26
    # Of zeros even what zstd needs to say that they are all alike.
    for codec in (codec for codec in CODECS.values() if not codec.lossless):
        zeros = Encoder(codec, error_feedback=False).encode(np.zeros(values, np.float32), schema_of(values), 1)
        assert len(zeros.content) < 70
