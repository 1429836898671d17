# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.sfm.prefix import Prefix
from nvflare.fuel.f3.sfm.sfm_conn import SfmConnection

from cloister.flare.frames import join_frames
from tests.flare.wire import undone_after


class Line:
    """A driver's connection that keeps what is sent."""

    name = "line"

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send_frame(self, frame: Any) -> None:
        self.frames.append(bytes(frame))


def sent(headers: dict[str, Any] | None, payload: Any) -> bytes:
    line = Line()
    SfmConnection(line, Endpoint("alpha")).send_data(7, 3, headers, payload)
    return line.frames[0]


@pytest.mark.parametrize("headers", [None, {}, {"channel": "cloister.rounds", "number": 7}])
@pytest.mark.parametrize("payload", [None, b"", b"payload", bytearray(b"payload"), memoryview(b"payload" * 1000)])
def test_a_frame_is_the_one_that_nvflare_makes(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, Any] | None, payload: Any
) -> None:
    undone_after(monkeypatch)
    theirs = sent(headers, payload)
    join_frames()
    assert sent(headers, payload) == theirs


def test_a_line_that_fails_is_told_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    undone_after(monkeypatch)
    join_frames()

    class Broken(Line):
        def send_frame(self, frame: Any) -> None:
            raise OSError("broken")

    connection = SfmConnection(Broken(), Endpoint("alpha"))
    with pytest.raises(OSError, match="broken"):
        connection.send_frame(Prefix(0, 0, 2, 0, 0, 7, 3, 0), None, b"payload")
    assert connection.get_send_stall_seconds() == 0.0
    assert connection.lock.acquire(blocking=False)
