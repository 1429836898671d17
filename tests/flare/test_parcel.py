# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from typing import Any

import pytest
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare.exchange import TaskName
from cloister.flare.parcel import AnswerHead, TaskHead, pack, unpack

HEAD = TaskHead(task=TaskName.TRAIN, identifier="0" * 32, seconds=30)


@pytest.mark.parametrize("tensors", [b"", b"tensors", bytes(range(256)) * 100])
@pytest.mark.parametrize("message", [b"", b"{}"])
@pytest.mark.parametrize("received", [bytes, bytearray, memoryview])
def test_a_parcel_is_read_as_it_was_packed(message: bytes, tensors: bytes, received: Any) -> None:
    carrier = pack(HEAD, message, tensors)
    carrier.payload = received(carrier.payload)
    assert unpack(carrier, TaskHead) == (HEAD, message, tensors)


WHOLE = bytes(pack(HEAD, b"message").payload)
LENGTHS = struct.Struct("<II")


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "text",
        {"a": "dictionary"},
        b"",
        b"\0" * 7,
        *(WHOLE[:end] for end in range(0, len(WHOLE) - 7, 9)),
        LENGTHS.pack(2**32 - 1, 0) + WHOLE[8:],
        LENGTHS.pack(len(WHOLE), 0) + WHOLE[8:],
        LENGTHS.pack(2, 0) + b"{}",
        LENGTHS.pack(5000, 0) + b" " * 5000,
        bytes(pack(AnswerHead(identifier="0" * 32, code="OK")).payload),
    ],
)
def test_what_is_no_parcel_is_refused(payload: Any) -> None:
    with pytest.raises(JobError):
        unpack(Message({}, payload), TaskHead)


@pytest.mark.parametrize("identifier", ["", "0" * 31, "0" * 33, "0" * 32 + "\n", "../" * 11, "A" * 32])
def test_an_identifier_is_thirty_two_digits(identifier: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        AnswerHead(identifier=identifier, code="OK")


@pytest.mark.parametrize("code", ["", "OK\n", "a patient's name: 7", "x" * 65])
def test_a_code_is_one_short_word(code: str) -> None:
    with pytest.raises(ValueError, match="code"):
        AnswerHead(identifier="0" * 32, code=code)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 1e10])
def test_a_deadline_is_in_the_future(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        TaskHead(task=TaskName.TRAIN, identifier="0" * 32, seconds=seconds)
