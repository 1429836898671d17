# SPDX-License-Identifier: Apache-2.0
"""The server's job process and its parent, which has the tickets, over a wire in memory; see `test_stream_service`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare import server_line
from cloister.flare.fetch import BY_MESSAGE, Fetch
from cloister.flare.holder import Holder
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.parcel import Reference, StreamHead, acknowledgement, unpack
from cloister.flare.server_line import ServerLine
from cloister.flare.tickets import Tickets
from cloister.flare.traffic import CHUNK, ISSUE, REVOKE, ROUNDS, STREAM
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of

ALPHA = process_of("alpha")
MESSAGE = b'{"round":1}'
CONTENT = os.urandom(3_000_000)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(server_line, "_AGAIN_SECONDS", 0.02)
    return Wire()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / JOB_ID / RECEIVED
    made.mkdir(parents=True)
    return made


@pytest.fixture
def tickets(wire: Wire, tmp_path: Path) -> Tickets:
    made = Tickets(tmp_path)
    made.serve(wire.cell("server"))
    return made


@pytest.fixture
def line(wire: Wire, folder: Path) -> ServerLine:
    return ServerLine(wire.cell(SERVER), folder)


def fetch(wire: Wire, line: ServerLine, folder: Path, reference: Reference, seconds: float = 20.0) -> Path:
    made = Fetch(wire.cell(SERVER), ALPHA, time.monotonic() + seconds, line=line)
    return made.into(folder / "into", MESSAGE, reference)


@pytest.fixture
def offered(wire: Wire) -> Reference:
    """By a site that has no line."""
    holder = Holder(wire.cell(ALPHA))
    holder.open()
    return holder.offer(MESSAGE, CONTENT, {SERVER})


class Adds:
    """A site that streams, each time it is asked, so many bytes of what it has."""

    def __init__(self, wire: Wire, folder: Path, size: int) -> None:
        self._folder, self._size, self.asked = folder, size, 0
        wire.cell(ALPHA).register_request_cb(ROUNDS, STREAM, self._add)

    def _add(self, carrier: Message) -> Message:
        head, _, _ = unpack(carrier, StreamHead)
        self.asked += 1
        with (self._folder / head.ticket).open("ab") as stream:
            stream.write(CONTENT[stream.tell() :][: self._size])
        return acknowledgement()


def test_a_site_that_stops_is_asked_to_go_on(
    wire: Wire, tickets: Tickets, line: ServerLine, folder: Path, offered: Reference
) -> None:
    adds = Adds(wire, folder, 1_000_000)
    assert fetch(wire, line, folder, offered).read_bytes() == CONTENT
    assert adds.asked == 3
    assert {topic for topic, _, _ in wire.sent} == {ISSUE, STREAM, REVOKE}


def test_the_rest_comes_by_message_from_a_site_that_gets_stuck(
    wire: Wire,
    tickets: Tickets,
    line: ServerLine,
    folder: Path,
    offered: Reference,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(server_line, "_PATIENCE_SECONDS", 0.5)
    adds = Adds(wire, folder, 1_000_000)
    wire.loses = lambda topic, _origin, _destination: topic == STREAM and adds.asked >= 1
    assert fetch(wire, line, folder, offered).read_bytes() == CONTENT
    assert f"what begins at 1000000 {BY_MESSAGE}" in caplog.text
    assert list(folder.iterdir()) == [folder / "into"]


def test_without_a_ticket_all_of_it_comes_by_message(
    wire: Wire, line: ServerLine, folder: Path, offered: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetch(wire, line, folder, offered).read_bytes() == CONTENT
    assert f"what begins at 0 {BY_MESSAGE}" in caplog.text
    assert CHUNK in {topic for topic, _, _ in wire.sent}
    assert list(folder.iterdir()) == [folder / "into"]


@pytest.mark.parametrize(("unheard", "asked"), [(0, 1), (2, 3), (9, 3)])
def test_a_ticket_is_asked_for_again_where_nobody_was_reached(
    wire: Wire, tickets: Tickets, line: ServerLine, folder: Path, unheard: int, asked: int
) -> None:
    (folder / "weights").write_bytes(CONTENT)
    wire.loses = lambda topic, _origin, _destination: [each for each, _, _ in wire.sent].count(topic) <= unheard
    ticket = line.issue("down", [ALPHA], len(CONTENT), folder / "weights")
    assert [topic for topic, _, _ in wire.sent] == [ISSUE] * asked
    assert (ticket is not None) == (unheard < asked)


def test_a_ticket_that_was_refused_is_not_asked_for_again(wire: Wire, line: ServerLine, folder: Path) -> None:
    (folder / "weights").write_bytes(CONTENT)
    wire.cell("server").register_request_cb(ROUNDS, ISSUE, lambda _: acknowledgement(ReturnCode.INVALID_REQUEST))
    assert line.issue("down", [ALPHA], len(CONTENT), folder / "weights") is None
    assert [topic for topic, _, _ in wire.sent] == [ISSUE]


def test_a_file_that_can_have_no_second_name_comes_and_goes_by_message(
    wire: Wire,
    tickets: Tickets,
    line: ServerLine,
    folder: Path,
    offered: Reference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_about: object) -> None:
        raise PermissionError("on purpose")

    monkeypatch.setattr(os, "link", refuse)
    assert fetch(wire, line, folder, offered).read_bytes() == CONTENT
    assert Holder(wire.cell(SERVER), line).offer(MESSAGE, folder / "into", {ALPHA}).ticket is None
    assert ISSUE not in {topic for topic, _, _ in wire.sent}


def test_where_it_is_not_sure_that_nothing_is_added_any_more_nothing_is_kept(
    wire: Wire, tickets: Tickets, line: ServerLine, folder: Path, offered: Reference
) -> None:
    Adds(wire, folder, len(CONTENT))
    wire.forgets = lambda topic, _origin, _destination: topic == REVOKE
    with pytest.raises(JobError, match="does not answer"):
        fetch(wire, line, folder, offered)
    assert list(folder.iterdir()) == []


def test_what_a_site_does_not_have_is_waited_for_no_longer(
    wire: Wire, tickets: Tickets, line: ServerLine, folder: Path
) -> None:
    wire.cell(ALPHA).register_request_cb(ROUNDS, STREAM, lambda _carrier: acknowledgement(ReturnCode.INVALID_REQUEST))
    with pytest.raises(JobError, match="does not have"):
        fetch(wire, line, folder, Reference(digest="0" * 64, bytes=10))
    assert list(folder.iterdir()) == []


def test_a_ticket_for_what_goes_down_ends_as_it_is_withdrawn(
    wire: Wire, tickets: Tickets, line: ServerLine, folder: Path
) -> None:
    source = folder / "source"
    source.write_bytes(CONTENT)
    holder = Holder(wire.cell(SERVER), line)
    first = holder.offer(MESSAGE, source, {ALPHA})
    again = holder.offer(MESSAGE, source, {process_of("beta")})
    assert {first.ticket, again.ticket} == set(tickets._tickets)
    assert [ticket.sites for ticket in tickets._tickets.values()] == [{"alpha"}, {"beta"}]
    holder.withdraw(first)
    assert tickets._tickets == {}
    assert list(folder.iterdir()) == [source]
