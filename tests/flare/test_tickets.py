# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nvflare.fuel.f3.message import Message

from cloister.certificates.identity import Identity
from cloister.errors import JobError
from cloister.flare import tickets as module
from cloister.flare.leftover_updates import RECEIVED, remove_leftover_updates
from cloister.flare.parcel import is_acknowledged, pack
from cloister.flare.tickets import Ticket, TicketEnd, Tickets
from cloister.flare.traffic import ISSUE, REVOKE, ROUNDS
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of

NAME = "0123456789abcdef" * 2
ALPHA = Identity("alpha", "Alpha", "site")
OTHER_JOB = JOB_ID.replace("0", "1")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def tickets(wire: Wire, tmp_path: Path) -> Tickets:
    made = Tickets(tmp_path)
    made.serve(wire.cell("server"))
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / JOB_ID / RECEIVED
    folder.mkdir(parents=True)
    path = folder / NAME
    path.touch(0o600)
    return path


def ask(wire: Wire, topic: str, request: Message, origin: str = SERVER) -> bool:
    return is_acknowledged(wire.cell(origin).send_request(ROUNDS, topic, "server", request, 1.0, True))


def head(**other: Any) -> Message:
    content = json.dumps({"identifier": NAME, "way": "up", "sites": ["alpha"], "bytes": 9} | other).encode()
    return Message({}, struct.pack("<II", len(content), 0) + content)


@pytest.fixture
def ticket(wire: Wire, tickets: Tickets, file: Path) -> Ticket:
    assert ask(wire, ISSUE, head())
    return tickets.find(NAME, "up", ALPHA)


@pytest.fixture
def descriptor(file: Path) -> Iterator[int]:
    opened = os.open(file, os.O_WRONLY | os.O_APPEND)
    yield opened
    os.close(opened)


def test_what_a_ticket_says_and_where_its_file_lies_the_server_s_job_process_decides(
    ticket: Ticket, file: Path, descriptor: int
) -> None:
    assert ticket == Ticket(JOB_ID, "up", frozenset({"alpha"}), 9, file, ticket._lock, _turn=ticket._turn)
    assert ticket.add(descriptor, b"12345")
    assert not ticket.add(descriptor, b"6789")
    assert file.read_bytes() == b"123456789"


@pytest.mark.parametrize(
    ("identifier", "way", "who"),
    [
        (NAME, "down", ALPHA),
        (NAME[::-1], "up", ALPHA),
        ("", "up", ALPHA),
        (f"../{RECEIVED}/{NAME}", "up", ALPHA),
        (NAME, "up", Identity("beta", "Beta", "site")),
        (NAME, "up", Identity("alpha", "Alpha", "person")),
        (NAME, "up", Identity("server", "Host", "server")),
    ],
)
def test_a_ticket_counts_for_whom_it_is_and_nobody_else(
    ticket: Ticket, tickets: Tickets, identifier: str, way: Any, who: Identity
) -> None:
    with pytest.raises(JobError, match="no such ticket"):
        tickets.find(identifier, way, who)


@pytest.mark.parametrize("origin", [process_of("alpha"), "alpha", "server", f"{SERVER}.child", "server.../x", "", "s"])
def test_only_a_job_s_process_at_the_server_is_given_one(wire: Wire, tickets: Tickets, file: Path, origin: str) -> None:
    assert not ask(wire, ISSUE, head(), origin)
    assert ask(wire, ISSUE, head())
    assert not ask(wire, REVOKE, pack(TicketEnd(identifier=NAME)), origin)
    tickets.find(NAME, "up", ALPHA)


@pytest.mark.parametrize(
    "other",
    [
        {"identifier": "../../../etc/passwd"},
        {"identifier": NAME.upper()},
        {"identifier": NAME[::-1]},  # nothing lies there
        {"way": "sideways"},
        {"sites": []},
        {"bytes": -1},
        {"path": "/etc/passwd"},
    ],
)
def test_what_is_no_proper_request_is_refused(wire: Wire, tickets: Tickets, file: Path, other: dict[str, Any]) -> None:
    assert not ask(wire, ISSUE, head(**other))
    assert tickets._tickets == {}


def test_one_job_neither_takes_another_s_name_nor_ends_its_ticket(
    wire: Wire, tickets: Tickets, ticket: Ticket, tmp_path: Path
) -> None:
    folder = tmp_path / OTHER_JOB / RECEIVED
    folder.mkdir(parents=True)
    (folder / NAME).touch()
    assert not ask(wire, ISSUE, head(), f"server.{OTHER_JOB}")
    assert not ask(wire, REVOKE, pack(TicketEnd(identifier=NAME)), f"server.{OTHER_JOB}")
    assert tickets.find(NAME, "up", ALPHA) is ticket


def test_nothing_is_added_beyond_what_was_named(ticket: Ticket, file: Path, descriptor: int) -> None:
    ticket.add(descriptor, b"12345678")
    with pytest.raises(JobError, match="more came"):
        ticket.add(descriptor, b"90")
    assert file.read_bytes() == b"12345678"


def test_nothing_is_added_once_it_has_been_ended(
    wire: Wire, tickets: Tickets, ticket: Ticket, file: Path, descriptor: int
) -> None:
    ticket.add(descriptor, b"1")
    assert ask(wire, REVOKE, pack(TicketEnd(identifier=NAME)))
    with pytest.raises(JobError, match="does not count"):
        ticket.add(descriptor, b"2")
    with pytest.raises(JobError):
        tickets.find(NAME, "up", ALPHA)
    assert file.read_bytes() == b"1"
    assert ask(wire, REVOKE, pack(TicketEnd(identifier=NAME)))  # who did not hear the answer asks again


def test_a_ticket_ends_with_its_job(
    wire: Wire, tickets: Tickets, ticket: Ticket, descriptor: int, tmp_path: Path
) -> None:
    remove_leftover_updates(tmp_path / JOB_ID)
    with pytest.raises(JobError, match="does not count"):
        ticket.add(descriptor, b"1")
    with pytest.raises(JobError, match="does not count"):
        tickets.find(NAME, "up", ALPHA)
    assert not ask(wire, ISSUE, head())
    assert tickets._tickets == {}  # nor is it kept


def test_a_ticket_is_forgotten_once_nothing_is_added_any_more_and_not_before(
    wire: Wire, tickets: Tickets, ticket: Ticket, file: Path
) -> None:
    end = (wire, REVOKE, pack(TicketEnd(identifier=NAME)))
    asked = [threading.Thread(target=ask, args=end, daemon=True) for _ in range(2)]  # who hears nothing asks again
    file.unlink()
    asked.append(threading.Thread(target=tickets._forget, daemon=True))
    with ticket._lock:  # as while a piece is written to a slow disk
        for each in asked:
            each.start()
        for each in asked:
            each.join(0.1)
        assert all(each.is_alive() for each in asked)
    for each in asked:
        each.join(5)
    assert tickets._tickets == {}


class Call:
    """Of gRPC's; it takes no notice of being cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1

    def is_active(self) -> bool:
        return not self.cancelled


def test_an_earlier_call_makes_way(ticket: Ticket) -> None:
    class Ends(Call):
        def cancel(self) -> None:
            super().cancel()
            first.__exit__(None, None, None)

    call = Ends()
    first = ticket.turn(call, "alpha")
    first.__enter__()
    with ticket.turn(Call(), "alpha"):
        assert call.cancelled == 1


def test_calls_end_with_their_ticket(ticket: Ticket) -> None:
    calls = [Call(), Call()]
    with ticket.open_for(calls[0], "alpha"), ticket.open_for(calls[1], "beta"):
        ticket.revoke()
    assert [call.cancelled for call in calls] == [1, 1]
    with pytest.raises(JobError, match="does not count"), ticket.open_for(Call(), "alpha"):
        pass


def test_each_site_has_one_call_and_not_many(ticket: Ticket) -> None:
    calls = [Call(), Call(), Call()]
    with (
        ticket.open_for(calls[0], "alpha"),
        ticket.open_for(calls[1], "beta"),
        ticket.open_for(calls[2], "alpha"),
    ):
        assert [call.cancelled for call in calls] == [1, 0, 0]


def test_one_that_does_not_keeps_the_next_out(ticket: Ticket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.01)
    with ticket.turn(Call(), "alpha"), pytest.raises(JobError, match="not ended"), ticket.turn(Call(), "alpha"):
        pass


def test_who_has_gone_does_not_wait_for_its_turn(ticket: Ticket) -> None:
    gone, begun = Call(), time.monotonic()
    gone.cancel()
    with ticket.turn(Call(), "alpha"), pytest.raises(JobError, match="not ended"), ticket.turn(gone, "alpha"):
        pass
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("part", ["unpack", "_job_of"])
def test_a_gate_that_throws_gives_no_ticket_and_ends_none(
    wire: Wire, tickets: Tickets, ticket: Ticket, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(*_about: object) -> None:
        raise KeyError("on purpose")

    monkeypatch.setattr(module, part, broken)
    assert not ask(wire, ISSUE, head(identifier=NAME[::-1]))
    assert not ask(wire, REVOKE, pack(TicketEnd(identifier=NAME)))
    assert list(tickets._tickets) == [NAME]
