# SPDX-License-Identifier: Apache-2.0
"""Files over streams: the server's parent process and a site's, over mutual TLS and a line that can be cut.

The server's job process, which has no connection, is a cell in memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell

from cloister.certificates.identity import Identity
from cloister.errors import CertificateError, JobError
from cloister.files import private_folder
from cloister.flare import server_line, stream_service
from cloister.flare.connections import keep_certificates
from cloister.flare.fetch import BY_MESSAGE, Fetch
from cloister.flare.frames import join_frames
from cloister.flare.holder import Holder
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.parcel import Reference
from cloister.flare.server_line import ServerLine
from cloister.flare.site_line import SiteLine
from cloister.flare.socket_bytes import count_socket_bytes
from cloister.flare.state import State
from cloister.flare.stream_service import DOWN, OFFSET_BYTES, PIECE_BYTES, TICKET, UP, serve_streams
from cloister.flare.tickets import Ticket, Tickets
from cloister.flare.traffic import CHUNK
from cloister.flare.trust_watch import TrustWatch
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.proxy import Proxy, proxied
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import any_url, cell, undone_after, until

pytestmark = pytest.mark.slow

ALPHA, BETA = process_of("alpha"), process_of("beta")
MESSAGE = b'{"round":1}'
BEGIN = bytes(OFFSET_BYTES)


@dataclass
class World:
    """A server, two sites, and what is between them.

    Attributes:
        wire: between the job's processes, for messages.
        sites: cells that are connected.
        proxy: the line of alpha.
        folder: what the job has received.
        tickets: at the server's parent process.
        counted: bytes received from and sent to each site.
        judge: what is asked of each certificate before the roster is.
    """

    wire: Wire
    sites: dict[str, CoreCell]
    proxy: Proxy
    folder: Path
    tickets: Tickets
    counted: Callable[[], dict[str, tuple[int, int]]]
    judge: list[Callable[[], None]] = field(default_factory=list)

    @property
    def server(self) -> ServerLine:
        return ServerLine(self.wire.cell(SERVER), self.folder)

    def site_offers(self, content: bytes, name: str = ALPHA) -> Reference:
        holder = Holder(self.wire.cell(name), SiteLine(self.sites[name]))
        holder.open()
        return holder.offer(MESSAGE, content, {SERVER})

    def server_offers(self, content: bytes, *names: str) -> tuple[Holder, Reference]:
        source = self.folder / "source"
        source.write_bytes(content)
        holder = Holder(self.wire.cell(SERVER), self.server)
        holder.open()
        reference = holder.offer(MESSAGE, source, names)
        source.unlink()
        return holder, reference

    def fetch_up(self, reference: Reference, seconds: float = 60.0, **more: Any) -> Path:
        made = Fetch(self.wire.cell(SERVER), ALPHA, time.monotonic() + seconds, line=self.server, **more)
        return made.into(self.folder / "into", MESSAGE, reference)

    def fetch_down(self, reference: Reference, name: str = ALPHA, seconds: float = 60.0) -> Path:
        line = SiteLine(self.sites[name])
        made = Fetch(self.wire.cell(name), SERVER, time.monotonic() + seconds, line=line)
        return made.into(self.folder / "into", MESSAGE, reference)

    def ticket(self, way: Any, content: bytes = b"", size: int = 1000) -> tuple[str, Path]:
        path = self.folder / "file"
        path.write_bytes(content)
        identifier = self.server.issue(way, {ALPHA}, size, path)
        assert identifier is not None
        return identifier, path

    def call_up(self, ticket: str, pieces: list[bytes], name: str = ALPHA) -> list[bytes]:
        channel = SiteLine(self.sites[name])._channel()
        return list(channel.stream_stream(UP)(iter(pieces), metadata=((TICKET, ticket),), timeout=20))

    def call_down(self, ticket: str, begin: bytes = BEGIN, name: str = ALPHA) -> bytes:
        channel = SiteLine(self.sites[name])._channel()
        return b"".join(channel.unary_stream(DOWN)(begin, metadata=((TICKET, ticket),), timeout=20))

    def topics(self) -> set[str]:
        return {topic for topic, _, _ in self.wire.sent}

    def nothing_is_left(self, *but: str) -> bool:
        return {path.name for path in self.folder.iterdir()} == set(but) and not self.tickets._tickets


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state = State(provisioned(tmp_path_factory.mktemp("federation")))
    tickets, judge, watch = Tickets(state.server), list[Callable[[], None]](), TrustWatch(state.server)

    def holder(certificate: bytes) -> Identity:
        for each in judge:
            each()
        return watch.holder(certificate)

    folder, url = private_folder(state.server / JOB_ID / RECEIVED), any_url()
    with pytest.MonkeyPatch.context() as patch:
        undone_after(patch)
        keep_certificates()
        join_frames()
        counter = count_socket_bytes()
        serve_streams(tickets, holder, counter)
        with (
            cell("server", state.server, url) as server,
            proxied(url) as (proxy, dialled),
            cell(ALPHA, state.site("alpha"), dialled) as alpha,
            cell(BETA, state.site("beta"), url) as beta,
        ):
            sites = {ALPHA: alpha, BETA: beta}
            until(lambda: all(map(server.is_cell_connected, sites)))
            until(lambda: all(site.is_cell_connected("server") for site in sites.values()))
            yield World(Wire(), sites, proxy, folder, tickets, lambda: counter.of_job(JOB_ID), judge)


@pytest.fixture
def world(federation: World) -> World:
    federation.judge.clear()
    federation.tickets._tickets.clear()
    for left in federation.folder.iterdir():
        left.unlink()
    federation.proxy.up = federation.proxy.down = 0
    federation.wire = Wire()
    federation.tickets.serve(federation.wire.cell("server"))
    until(lambda: all(SiteLine(site)._channel() is not None for site in federation.sites.values()))
    return federation


@pytest.mark.parametrize("size", [1, PIECE_BYTES, 3 * PIECE_BYTES + 7, 40_000_000])
def test_what_comes_up_is_what_the_site_offers(world: World, size: int) -> None:
    content, before = os.urandom(size), world.counted().get("alpha", (0, 0))[0]
    into = world.fetch_up(world.site_offers(content))
    assert into.read_bytes() == content
    assert into.stat().st_mode & 0o777 == 0o600
    assert CHUNK not in world.topics()
    assert world.nothing_is_left("into")
    assert world.counted()["alpha"][0] - before == pytest.approx(size, abs=2000 + size / 1000)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, 3 * PIECE_BYTES + 7, 40_000_000])
def test_what_comes_down_is_what_the_server_offers(world: World, size: int) -> None:
    content, before = os.urandom(size), world.counted().get("alpha", (0, 0))[1]
    holder, reference = world.server_offers(content, ALPHA, BETA)
    into = world.fetch_down(reference)
    assert into.read_bytes() == content
    assert into.stat().st_mode & 0o777 == 0o600
    assert CHUNK not in world.topics()
    assert world.counted()["alpha"][1] - before == pytest.approx(size, abs=2000 + size / 1000)
    into.unlink()
    assert world.fetch_down(reference, BETA).read_bytes() == content
    holder.withdraw()
    assert world.nothing_is_left("into")
    with pytest.raises(grpc.RpcError, match="no such ticket"):
        world.call_down(str(reference.ticket))


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_stream_that_breaks_is_gone_on_with_where_it_ended(world: World, up: bool) -> None:
    content = os.urandom(60_000_000)
    reference = world.site_offers(content) if up else world.server_offers(content, ALPHA)[1]
    cuts: list[int] = []

    def passed() -> int:
        return max(world.proxy.up, world.proxy.down)

    def cut_twice() -> None:
        for part in (0.2, 0.6):
            until(partial(lambda part: passed() > part * len(content), part), 60)
            cuts.append(passed())
            world.proxy.cut()

    cutting = threading.Thread(target=cut_twice, daemon=True)
    cutting.start()
    into = world.fetch_up(reference) if up else world.fetch_down(reference)
    cutting.join(5)
    assert into.read_bytes() == content
    assert len(cuts) == 2
    assert passed() < 1.6 * len(content)  # it was not begun anew
    assert CHUNK not in world.topics()


def test_where_there_is_no_line_pieces_go_by_message(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = os.urandom(3 * PIECE_BYTES)
    monkeypatch.setattr(SiteLine, "_channel", lambda _line: None)
    assert world.fetch_up(world.site_offers(content)).read_bytes() == content
    (world.folder / "into").unlink()
    holder, reference = world.server_offers(content, ALPHA)
    assert world.fetch_down(reference).read_bytes() == content
    holder.withdraw()
    assert CHUNK in world.topics()
    assert caplog.text.count(BY_MESSAGE) == 2
    assert world.nothing_is_left("into")


def test_what_a_stream_left_out_goes_by_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_line, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(server_line, "_AGAIN_SECONDS", 0.1)
    content, add = os.urandom(4 * PIECE_BYTES), Ticket.add

    def add_two(ticket: Ticket, descriptor: int, piece: bytes) -> bool:
        if os.fstat(descriptor).st_size >= 2 * PIECE_BYTES:
            raise OSError("no room, on purpose")
        return add(ticket, descriptor, piece)

    monkeypatch.setattr(Ticket, "add", add_two)
    assert world.fetch_up(world.site_offers(content)).read_bytes() == content
    assert CHUNK in world.topics()
    assert world.nothing_is_left("into")


def test_what_is_not_what_was_named_is_not_kept(world: World) -> None:
    reference = world.site_offers(os.urandom(PIECE_BYTES))
    holder = world.wire.cell(ALPHA).handlers
    serve = next(handler for (_, topic), handler in holder.items() if topic == CHUNK)
    offer = serve.__self__._offers[reference.digest]  # type: ignore[attr-defined]
    offer.content = os.urandom(PIECE_BYTES)
    with pytest.raises(JobError, match="not what was named"):
        world.fetch_up(reference)
    assert world.nothing_is_left()


def test_what_is_not_offered_does_not_come(world: World) -> None:
    world.site_offers(b"x" * 100)
    with pytest.raises(JobError, match="does not have"):
        world.fetch_up(Reference(digest="0" * 64, bytes=100))
    with pytest.raises(JobError, match="100 bytes, and 99 may be taken"):
        world.fetch_up(Reference(digest="0" * 64, bytes=100), most=99)
    assert world.nothing_is_left()


def test_another_site_s_ticket_is_worth_nothing(world: World) -> None:
    up, path = world.ticket("up")
    with pytest.raises(grpc.RpcError, match="no such ticket"):
        world.call_up(up, [b"x"], BETA)
    assert path.read_bytes() == b""
    _, reference = world.server_offers(b"x" * 100, ALPHA)
    with pytest.raises(grpc.RpcError, match="no such ticket"):
        world.call_down(str(reference.ticket), name=BETA)
    with pytest.raises(JobError, match="does not have"):
        world.fetch_down(reference, BETA)
    assert world.call_down(str(reference.ticket)) == b"x" * 100


@pytest.mark.parametrize("ticket", ["", "0" * 32, f"../{RECEIVED}/file"])
def test_a_ticket_that_nobody_issued_is_worth_nothing(world: World, ticket: str) -> None:
    world.ticket("down", b"x" * 1000)
    for call in (lambda: world.call_up(ticket, [b"x"]), lambda: world.call_down(ticket)):
        with pytest.raises(grpc.RpcError, match="no such ticket"):
            call()


def test_what_is_there_is_added_to_and_never_changed(world: World) -> None:
    ticket, path = world.ticket("up", b"first", 12)
    assert world.call_up(ticket, [b"sec", b"ond"]) == [(5).to_bytes(OFFSET_BYTES, "little")]
    assert world.call_up(ticket, []) == [(11).to_bytes(OFFSET_BYTES, "little")]
    with pytest.raises(grpc.RpcError, match="more came than was named"):
        world.call_up(ticket, [b"??"])
    assert path.read_bytes() == b"firstsecond"


@pytest.mark.parametrize("begin", [b"", b"\xff" * OFFSET_BYTES, b"\xff" * 1000, b"\xe8\x03"])
def test_nothing_beyond_the_end_is_sent(world: World, begin: bytes) -> None:
    ticket, _ = world.ticket("down", b"x" * 1000)
    assert world.call_down(ticket, begin) == (b"" if begin else b"x" * 1000)


def test_of_what_is_no_file_or_has_another_length_nothing_is_sent(world: World, tmp_path: Path) -> None:
    ticket, path = world.ticket("down", b"x" * 999)
    with pytest.raises(grpc.RpcError, match="not the length"):
        world.call_down(ticket)
    (world.folder / ticket).unlink()
    (world.folder / ticket).symlink_to(path)
    with pytest.raises(grpc.RpcError, match="the stream was ended"):
        world.call_down(ticket)
    (world.folder / ticket).unlink()
    os.mkfifo(world.folder / ticket)
    with pytest.raises(grpc.RpcError, match="not a file"):
        world.call_down(ticket)


@pytest.mark.parametrize("error", [CertificateError("revoked, on purpose"), KeyError("on purpose")])
@pytest.mark.parametrize("judgements", [0, 2], ids=["at the beginning", "in the middle"])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_whose_certificate_does_not_count_any_more_is_cut_off(
    world: World, error: Exception, judgements: int, up: bool
) -> None:
    left = [judgements]

    def judge() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    ticket, path = world.ticket("up" if up else "down", b"" if up else bytes(3 * PIECE_BYTES), 3 * PIECE_BYTES)
    world.judge.append(judge)
    with pytest.raises(grpc.RpcError, match=r"on purpose|the stream was ended"):
        if up:
            world.call_up(ticket, [b"1", b"2", b"3"])
        else:
            world.call_down(ticket)
    if up:
        assert path.read_bytes() == b"1"[:judgements]


def test_a_gate_that_throws_takes_and_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    up, path = world.ticket("up")
    down = str(world.server_offers(b"x" * 100, ALPHA)[1].ticket)

    def broken(*_about: object) -> None:
        raise KeyError("on purpose")

    for owner, name in ((Tickets, "find"), (stream_service, "certificate_of"), (Ticket, "check")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            with pytest.raises(grpc.RpcError, match="the stream was ended"):
                world.call_up(up, [b"x"])
            with pytest.raises(grpc.RpcError, match="the stream was ended"):
                world.call_down(down)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("way", [UP, DOWN])
def test_who_shows_nothing_that_counts_is_turned_away_before_anything_is_waited_for(world: World, way: str) -> None:
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(20)
        yield from ()

    channel, begun = SiteLine(world.sites[ALPHA])._channel(), time.monotonic()
    with pytest.raises(grpc.RpcError, match="no such ticket"):
        list(channel.stream_stream(way)(nothing(), metadata=((TICKET, "0" * 32),), timeout=20))
    over.set()
    assert time.monotonic() - begun < 10


def test_a_site_s_later_call_ends_its_earlier_one(world: World) -> None:
    ticket, _ = world.ticket("down", b"x" * 1000)
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(20)
        yield BEGIN

    channel = SiteLine(world.sites[ALPHA])._channel()
    earlier = channel.stream_stream(DOWN)(nothing(), metadata=((TICKET, ticket),), timeout=20)
    until(lambda: bool(world.tickets._tickets[ticket]._calls))
    assert world.call_down(ticket) == b"x" * 1000
    with pytest.raises(grpc.RpcError, match=r"CANCELLED|UNKNOWN"):
        list(earlier)
    over.set()


def test_a_call_that_sends_nothing_ends_with_its_ticket(world: World) -> None:
    ticket, path = world.ticket("up")
    waiting = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"x"
        waiting.wait(20)

    channel = SiteLine(world.sites[ALPHA])._channel()
    call = channel.stream_stream(UP)(pieces(), metadata=((TICKET, ticket),), timeout=20)
    until(lambda: path.read_bytes() == b"x")
    assert world.server.revoke(ticket)
    with pytest.raises(grpc.RpcError, match=r"CANCELLED|UNKNOWN"):
        list(call)
    waiting.set()


def test_a_fetch_is_over_when_nobody_waits_for_it(world: World) -> None:
    reference = world.site_offers(os.urandom(5 * PIECE_BYTES))
    with pytest.raises(JobError, match="in time"):
        world.fetch_up(reference, over=lambda: True)
    _, reference = world.server_offers(os.urandom(PIECE_BYTES), ALPHA)
    with pytest.raises(JobError, match="in time"):
        world.fetch_down(reference, seconds=-1.0)
    assert not (world.folder / "into").exists()
