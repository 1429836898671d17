# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket

import pytest

from cloister.doctor.network import Answer, Dialled, Resolution, dial, judge_port, judge_resolution, resolve
from cloister.flare.port import free_port
from tests.doctor import listeners

AWAY = "fl.example"


@pytest.mark.parametrize(
    ("found", "here", "code"),
    [
        (Resolution(AWAY, ("192.0.2.7",)), False, "D0100"),
        (Resolution(AWAY, failure=socket.EAI_NONAME), False, "D0101"),
        (Resolution(AWAY, failure=socket.EAI_AGAIN), False, "D0102"),
        (Resolution(AWAY, failure=socket.EAI_FAIL), False, "D0102"),
        (Resolution(AWAY), False, "D0102"),
        (Resolution("localhost", ("127.0.0.1", "::1")), False, "D0103"),
        (Resolution("localhost", ("127.0.0.1",)), True, "D0100"),
        (Resolution(AWAY, ("127.0.1.1", "192.0.2.7")), False, "D0100"),
    ],
)
def test_what_is_said_of_a_name(found: Resolution, here: bool, code: str) -> None:
    told = judge_resolution(found, server_here=here)
    assert told.code == code
    assert f"`{found.host}`" in told.message


def test_real_names() -> None:
    assert "127.0.0.1" in resolve("localhost").addresses
    assert resolve("127.0.0.1").addresses == ("127.0.0.1",)
    assert resolve("no-such-host.invalid").failure is not None
    assert resolve("a" * 64 + ".example").failure == socket.EAI_NONAME


def test_an_open_port_among_closed_addresses_is_found() -> None:
    with listeners.listening(listeners.silent) as port:
        assert dial(("127.0.0.9", "127.0.0.1"), port).answer is Answer.OPEN
        assert dial(("127.0.0.1",), port) == Dialled(Answer.OPEN, "127.0.0.1")
    assert dial(("127.0.0.1",), free_port()).answer is Answer.REFUSED
    assert dial((), 1).answer is Answer.NO_WAY


def test_a_port_that_a_firewall_drops_ends_within_its_time() -> None:
    with listeners.full_backlog() as port:
        assert dial(("127.0.0.1",), port, 0.3).answer is Answer.SILENT


@pytest.mark.parametrize(
    ("answer", "here", "code"),
    [
        (Answer.OPEN, False, "D0200"),
        (Answer.REFUSED, False, "D0201"),
        (Answer.REFUSED, True, "D0204"),
        (Answer.SILENT, False, "D0202"),
        (Answer.NO_WAY, False, "D0203"),
    ],
)
def test_what_is_said_of_a_port(answer: Answer, here: bool, code: str) -> None:
    told = judge_port(Dialled(answer, "192.0.2.7", "network is unreachable"), AWAY, 8002, server_here=here)
    assert told.code == code
    assert "port 8002 of `fl.example` (192.0.2.7)" in told.message


def test_a_proxy_is_no_help_against_a_firewall() -> None:
    told = judge_port(Dialled(Answer.SILENT, "192.0.2.7"), AWAY, 8002, server_here=False, proxied=True)
    assert "proxy does not help" in told.hint
