# SPDX-License-Identifier: Apache-2.0
"""How large a codestream says to be, from its first bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.records.images.codestream import is_whole, size_of

COMMENT = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xc0ab"  # what looks like a frame header inside a comment


def jpeg(marker: int, rows: int, columns: int, samples: int, before: bytes = b"") -> bytes:
    frame = struct.pack(">HBHHB", 8 + 3 * samples, 8, rows, columns, samples) + b"\0" * 3 * samples
    return b"\xff\xd8" + before + bytes([0xFF, marker]) + frame + b"\xff\xda\x00\x02data\xff\xd9"


def jpeg2000(right: int, bottom: int, left: int, top: int, samples: int) -> bytes:
    size = struct.pack(">HH8IH", 38 + 3 * samples, 0, right, bottom, left, top, right, bottom, 0, 0, samples)
    return b"\xff\x4f\xff\x51" + size + b"\0" * 3 * samples + b"\xff\xd9"


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xCF, 0xF7])
@pytest.mark.parametrize("before", [b"", COMMENT, b"\xff\xff\xff", b"\xff\xe0\x00\x04ab\xff\xc4\x00\x03a", b"\xff\x01"])
def test_jpeg_and_jpeg_ls(marker: int, before: bytes) -> None:
    # 65535 rows: fill bytes are FF, and so are these
    assert size_of(jpeg(marker, 65535, 7, 3, before)) == (65535, 7, 3)


def test_jpeg_2000() -> None:
    assert size_of(jpeg2000(640, 480, 0, 0, 3)) == (480, 640, 3)
    assert size_of(jpeg2000(0xFFFFFFFF, 0xFFFFFFFF, 10, 20, 1)) == (0xFFFFFFFF - 20, 0xFFFFFFFF - 10, 1)
    assert size_of(b"\0\0\0\x0cjP  \r\n\x87\n" + b"box" * 20 + jpeg2000(5, 6, 0, 0, 1)) == (6, 5, 1)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8xx",
        b"\xff\xd8\xff\xda\x00\x02",
        b"\xff\xd8\xff\xc0\x00\x08",
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 3,
        b"\xff\x4f\xff\x51\x00",
        b"GIF89a",
        b"\0" * 5000 + jpeg2000(5, 6, 0, 0, 1),
    ],
)
def test_what_is_none(frame: bytes) -> None:
    assert size_of(frame) is None


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\xff\x4f\xff\x51"]))
def test_any_bytes_have_an_answer(data: bytes, start: bytes) -> None:
    found = size_of(start + data)
    assert found is None or len(found) == 3


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0\0", b"\xff"])
def test_whole_with_padding(padding: bytes) -> None:
    assert is_whole(jpeg(0xC0, 1, 1, 1) + padding)
    assert is_whole(jpeg2000(1, 1, 0, 0, 1) + padding)


@pytest.mark.parametrize("cut", [1, 2, 6])
def test_not_whole(cut: int) -> None:
    assert not is_whole(jpeg(0xC0, 1, 1, 1)[:-cut])
    assert not is_whole(jpeg2000(1, 1, 0, 0, 1)[:-cut])
    assert not is_whole(b"\xff\xd9" + b"x" * 100 + b"\xd9")
