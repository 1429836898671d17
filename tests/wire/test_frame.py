# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import EgressError
from cloister.wire import frame

MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS
SINGLE_SEGMENT_4_BYTES, NO_SIZE = 0b1010_0000, 0b0000_0000
RLE, RAW, RESERVED, LAST = 1, 0, 3, 1


def block(kind: int, size: int, content: bytes, last: int = 0) -> bytes:
    """A block's header and content, RFC 8878 section 3.1.1.2."""
    return (size << 3 | kind << 1 | last).to_bytes(3, "little") + content


def stating(size: int, *blocks: bytes) -> bytes:
    """A frame that says its content has ``size`` bytes, RFC 8878 section 3.1.1.1."""
    return bytes([SINGLE_SEGMENT_4_BYTES]) + size.to_bytes(4, "little") + b"".join(blocks)


def refused(content: bytes, size: int) -> None:
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        with pytest.raises(EgressError):
            frame.decompress(content, size)
        assert time.perf_counter() - begun < 0.5
        assert tracemalloc.get_traced_memory()[1] < 2 * size + (1 << 20)
    finally:
        tracemalloc.stop()


@given(st.binary(min_size=1, max_size=3000))
def test_content_comes_back(content: bytes) -> None:
    packed = frame.compress(content)
    assert frame.decompress(packed, len(content)) == content
    assert frame.decompress(memoryview(packed), len(content)) == content
    assert len(packed) <= frame.largest(len(content))


def test_a_frame_by_hand_is_read() -> None:
    assert frame.decompress(stating(5, block(RLE, 5, b"x", LAST)), 5) == b"xxxxx"
    assert frame.decompress(stating(5, block(RLE, 2, b"x"), block(RAW, 3, b"abc", LAST)), 5) == b"xxabc"


def test_a_frame_that_says_it_is_larger_is_refused() -> None:
    giant = 0xFFFFFFFF
    refused(stating(giant, *[block(RLE, 1 << 17, b"x")] * 1000, block(RLE, 1 << 17, b"x", LAST)), 1000)


def test_a_frame_that_grows_beyond_what_it_says_is_refused() -> None:
    bomb = [block(RLE, 1 << 17, b"x")] * 8000  # a gibibyte from 32 kB
    refused(stating(1000, *bomb, block(RLE, 1 << 17, b"x", LAST)), 1000)
    refused(stating(1 << 18, *bomb, block(RLE, 1 << 17, b"x", LAST)), 1 << 18)


def test_a_frame_that_holds_less_than_it_says_is_refused() -> None:
    refused(stating(1000, block(RLE, 999, b"x", LAST)), 1000)
    refused(stating(1000, block(RLE, 999, b"x")), 1000)


def test_a_frame_without_its_length_is_refused() -> None:
    window = bytes([(31 - 10) << 3])  # asks for two gibibytes to work in
    refused(bytes([NO_SIZE]) + window + block(RLE, 1000, b"x", LAST), 1000)
    parameters = zstandard.ZstdCompressionParameters.from_level(1, format=MAGICLESS, write_content_size=False)
    refused(zstandard.ZstdCompressor(compression_params=parameters).compress(b"x" * 1000), 1000)


def test_a_frame_that_asks_for_a_giant_window_takes_no_more_memory() -> None:
    four_bytes, window = 0b1000_0000, bytes([(31 - 10) << 3])
    content = bytes([four_bytes]) + window + (1000).to_bytes(4, "little") + block(RLE, 1000, b"x", LAST)
    tracemalloc.start()
    try:
        assert frame.decompress(content, 1000) == b"x" * 1000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    except EgressError:
        pass
    finally:
        tracemalloc.stop()


def test_other_frames_are_refused() -> None:
    content = b"abc" * 100
    refused(zstandard.ZstdCompressor().compress(content), 300)  # with its magic number
    refused(b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"hidden!!" + frame.compress(content), 300)
    refused(stating(300, block(RESERVED, 300, b"x", LAST)), 300)
    refused(stating(300, block(RAW, 300, b"x", LAST)), 300)
    parameters = zstandard.ZstdCompressionParameters.from_level(1, format=MAGICLESS)
    dictionary = zstandard.train_dictionary(1000, [bytes([n]) * 50 + content for n in range(200)])
    with_dictionary = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
    refused(with_dictionary.compress(content), 300)


def test_what_follows_a_frame_is_refused() -> None:
    packed = frame.compress(b"abc" * 100)
    for more in (b"\0", packed, b"\x50\x2a\x4d\x18\0\0\0\0"):
        refused(packed + more, 300)


def test_a_checksum_that_is_wrong_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, format=MAGICLESS, write_checksum=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(b"abc" * 100)
    refused(packed[:-1] + bytes([packed[-1] ^ 1]), 300)
