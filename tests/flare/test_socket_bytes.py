# SPDX-License-Identifier: Apache-2.0
"""What the server counts beside what a proxy between the two ends sees pass, over mutual TLS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nvflare.fuel.f3.drivers.connector_info import Mode
from nvflare.fuel.f3.message import Message

from cloister.errors import FederationError
from cloister.flare import socket_bytes
from cloister.flare.frames import join_frames
from cloister.flare.socket_bytes import Counter, bytes_by_site, count_socket_bytes
from cloister.flare.state import State
from cloister.flare.traffic import BYTES, ROUNDS
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.proxy import proxied
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import any_url, end, undone_after, until


@pytest.mark.slow
@pytest.mark.parametrize("piece", [2 << 20, 20_000])
def test_what_is_counted_is_what_passes_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    undone_after(monkeypatch)
    join_frames()
    counter = count_socket_bytes()
    state, url = State(provisioned(tmp_path)), any_url()
    name, content, pieces = process_of("alpha"), os.urandom(piece), 10
    with (
        end("server", state.server, url, Mode.PASSIVE) as server,
        proxied(url) as (proxy, dialled),
        end(name, state.site("alpha"), dialled, Mode.ACTIVE) as site,
    ):
        until(lambda: server.connections_to(name) and site.connections_to("server"))
        handshake = (proxy.up, proxy.down)
        before = counter.of_job(JOB_ID).get("alpha", (0, 0))
        for _ in range(pieces):
            site.send("server", content)
        for _ in range(2 * pieces):
            server.send(name, content)
        until(lambda: len(server.heard) == pieces and len(site.heard) == 2 * pieces)
        until(lambda: proxy.down - handshake[1] > 2 * pieces * piece)
        received, sent = (after - was for after, was in zip(counter.of_job(JOB_ID)["alpha"], before, strict=True))
        passed = (proxy.up - handshake[0], proxy.down - handshake[1])
    assert received == pytest.approx(passed[0], rel=0.02)
    assert sent == pytest.approx(passed[1], rel=0.02)
    assert received >= pieces * piece
    assert sent >= 2 * pieces * piece


def test_the_job_s_process_is_told_of_its_own_job_and_nobody_else_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    counter._totals = {process_of("alpha"): (7, 8), "beta.another-job": (1, 1), "alpha": (2, 2)}
    wire = Wire()
    counter.serve(wire.cell("server"))
    assert bytes_by_site(wire.cell(SERVER)) == {"alpha": (7, 8)}
    for stranger in (process_of("alpha"), "alpha", "server", f"{SERVER}.child", ""):
        with pytest.raises(FederationError):
            bytes_by_site(wire.cell(stranger))


def test_a_server_that_does_not_tell_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    with pytest.raises(FederationError):
        bytes_by_site(wire.cell(SERVER))
    wire.cell("server").register_request_cb(ROUNDS, BYTES, lambda _carrier: Message({}, b"{}"))
    with pytest.raises(FederationError):
        bytes_by_site(wire.cell(SERVER))


def test_what_passes_within_the_machine_is_not_counted() -> None:
    class Local:
        conn = object()

    counter = Counter()
    counter.add(Local(), 5, 5)
    assert counter._totals == {}
    assert socket_bytes._AROUND_A_FRAME < 32
