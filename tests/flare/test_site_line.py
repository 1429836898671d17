# SPDX-License-Identifier: Apache-2.0
"""When a site begins to stream, by a wire in memory; over mutual TLS: `test_stream_service`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from cloister.flare import holder as holding
from cloister.flare.holder import Holder
from cloister.flare.parcel import Reference, StreamHead, pack
from cloister.flare.site_line import SiteLine
from cloister.flare.stream_service import OFFSET_BYTES
from cloister.flare.traffic import ROUNDS, STREAM
from tests.flare.cells import SERVER, Wire, process_of

ALPHA = process_of("alpha")
TICKET = "0123456789abcdef" * 2


class Pushes(SiteLine):
    """Notes what it is to stream."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, bytes]] = []
        self.is_there = True

    def push(self, ticket: str, read: Callable[[int, int], bytes], size: int) -> bool:
        if self.is_there:
            self.pushed.append((ticket, read(0, size)))
        return self.is_there


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def line() -> Pushes:
    return Pushes()


@pytest.fixture
def holder(wire: Wire, line: Pushes) -> Holder:
    made = Holder(wire.cell(ALPHA), line)
    made.open()
    return made


def ask(wire: Wire, digest: str, origin: str = SERVER, request: Message | None = None) -> str:
    request = request or pack(StreamHead(digest=digest, ticket=TICKET))
    reply = wire.cell(origin).send_request(ROUNDS, STREAM, ALPHA, request, 1.0, True)
    return str(reply.get_header(MessageHeaderKey.RETURN_CODE))


def test_what_is_offered_is_streamed_to_whom_it_is_for(wire: Wire, holder: Holder, line: Pushes) -> None:
    reference = holder.offer(b"{}", b"update", {SERVER})
    assert ask(wire, reference.digest) == ReturnCode.OK
    assert line.pushed == [(TICKET, b"update")]
    line.is_there = False
    assert ask(wire, reference.digest) == ReturnCode.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("origin", ["server", "alpha", process_of("beta"), f"{SERVER}.child", "server.another-job"])
def test_nobody_else_has_it_streamed(wire: Wire, holder: Holder, line: Pushes, origin: str) -> None:
    reference = holder.offer(b"{}", b"update", {SERVER})
    assert ask(wire, reference.digest, origin) == ReturnCode.INVALID_REQUEST
    assert line.pushed == []


def test_what_is_not_offered_or_no_request_streams_nothing(wire: Wire, holder: Holder, line: Pushes) -> None:
    reference = holder.offer(b"{}", b"update", {SERVER})
    assert ask(wire, "0" * 64) == ReturnCode.INVALID_REQUEST
    assert ask(wire, "", request=Message({}, b"junk")) == ReturnCode.INVALID_REQUEST
    holder.withdraw()
    assert ask(wire, reference.digest) == ReturnCode.INVALID_REQUEST
    assert line.pushed == []


def test_a_gate_that_throws_streams_nothing(
    wire: Wire, holder: Holder, line: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = holder.offer(b"{}", b"update", {SERVER})

    def broken(_carrier: Message) -> str:
        raise KeyError("on purpose")

    monkeypatch.setattr(holding, "origin_of", broken)
    assert ask(wire, reference.digest) == ReturnCode.INVALID_REQUEST
    assert line.pushed == []


def test_what_became_shorter_is_not_sent_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    came: list[bytes] = []

    class Channel:
        """Takes what is sent, as gRPC does."""

        def stream_stream(self, _method: str) -> Callable[..., Channel]:
            return self.call

        def call(self, pieces: Iterator[bytes], metadata: object) -> Channel:
            self.pieces = pieces
            return self

        def __iter__(self) -> Iterator[bytes]:
            yield bytes(OFFSET_BYTES)
            came.extend(self.pieces)

        def cancel(self) -> None: ...

    SiteLine(Wire().cell(ALPHA))._push(Channel(), TICKET, lambda offset, _size: b"12345"[offset:], 9)
    assert came == [b"12345"]
    assert "has become shorter" in caplog.text


def test_without_a_ticket_nothing_comes_in_a_stream(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "into"
    path.touch()
    reference = Reference(digest="0" * 64, bytes=10)
    assert list(Pushes().lands(path, reference, SERVER, lambda: False)) == []
    assert path.read_bytes() == b""


def test_a_line_that_was_closed_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks is closed before it is forgotten; in between, a call over it raises."""
    channel = grpc.insecure_channel("127.0.0.1:1")
    channel.close()
    line = SiteLine(Wire().cell(ALPHA))
    monkeypatch.setattr(line, "_channel", lambda: channel)
    path = tmp_path / "into"
    path.touch()
    reference = Reference(digest="0" * 64, bytes=10, ticket=TICKET)
    assert list(line.lands(path, reference, SERVER, lambda: False)) == []
    assert path.read_bytes() == b""
