# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.errors import EgressError
from cloister.wire import CODECS, Encoder, largest_encoding
from cloister.wire.header import HEADER_BYTES, check_header, header
from tests.wire.vectors import schema_of

SCHEMA = schema_of(2)


def test_it_is_the_documented_one() -> None:
    assert header(CODECS["int4"], SCHEMA) == b"CLOV\x01\x05" + SCHEMA.digest
    assert HEADER_BYTES == 22


def test_a_whole_vector_is_the_documented_one() -> None:
    content = Encoder(CODECS["float32"], error_feedback=False).encode(np.ones(2, np.float32), SCHEMA, 1).content
    assert content == b"CLOV\x01\x01" + SCHEMA.digest + b"\x08\0\0\0" + b"\0\0\x80\x3f" * 2
    assert largest_encoding(CODECS["float32"], SCHEMA) == len(content)


def test_the_digest_is_the_documented_one() -> None:
    assert SCHEMA.digest.hex() == "2c5e8f2102de4792a7435eb0246efaff"


@pytest.mark.parametrize(
    ("place", "byte", "message"),
    [
        (0, 0, "the update is not in the form in which values travel"),
        (
            4,
            2,
            "the update is in version 2 of its form where this one reads 1"
            " (let server and sites run the same version of cloister)",
        ),
        (5, 4, "the update is not in the form `int4` that the job names"),
        (6, 0, "the update is not of this round's tensors"),
        (21, 0, "the update is not of this round's tensors"),
    ],
)
def test_each_part_is_checked(place: int, byte: int, message: str) -> None:
    wrong = bytearray(header(CODECS["int4"], SCHEMA))
    assert wrong[place] != byte
    wrong[place] = byte
    with pytest.raises(EgressError) as caught:
        check_header(bytes(wrong), CODECS["int4"], SCHEMA)
    assert str(caught.value) == message
