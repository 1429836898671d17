# SPDX-License-Identifier: Apache-2.0
"""A connection whose other end says nothing for too long is shut, and no other."""

from __future__ import annotations

import socket
import threading
import time

from cloister.records.sql.silence import SilenceWatch


def test_silence_ends_the_wait_and_the_server_is_told() -> None:
    told: list[bool] = []
    here, there = socket.socketpair()
    with here, there, SilenceWatch(here.fileno(), 0.2, lambda: told.append(True)) as watch:
        begun = time.monotonic()
        with watch.waiting():
            assert here.recv(1) == b""
        assert 0.1 < time.monotonic() - begun < 2
        assert watch.fired
    assert told == [True]


def test_a_server_that_cannot_be_told_is_given_up_too() -> None:
    def fail() -> None:
        raise RuntimeError

    here, there = socket.socketpair()
    with here, there, SilenceWatch(here.fileno(), 0.1, fail) as watch, watch.waiting():
        assert here.recv(1) == b""


def test_one_that_speaks_in_time_is_waited_for() -> None:
    here, there = socket.socketpair()
    with here, there, SilenceWatch(here.fileno(), 0.5, lambda: None) as watch, watch.waiting():
        for _ in range(8):
            threading.Timer(0.1, there.send, (b"x",)).start()
            assert here.recv(1) == b"x"
            watch.heard()
        assert not watch.fired


def test_nothing_happens_while_nobody_waits() -> None:
    here, there = socket.socketpair()
    with here, there, SilenceWatch(here.fileno(), 0.1, lambda: None) as watch:
        time.sleep(0.3)
        with watch.waiting(), watch.paused():
            time.sleep(0.3)
        time.sleep(0.3)
        assert not watch.fired
        there.send(b"x")
        assert here.recv(1) == b"x"


def test_the_socket_itself_stays_open_afterwards() -> None:
    here, there = socket.socketpair()
    with here, there:
        with SilenceWatch(here.fileno(), 0.1, lambda: None):
            pass
        there.send(b"x")
        assert here.recv(1) == b"x"
