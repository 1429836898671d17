# SPDX-License-Identifier: Apache-2.0
"""A line between two processes that counts what passes, and that can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes on what comes to a port, and counts it.

    Args:
        to: the port that it is passed on to.

    Attributes:
        port: where it listens.
        up: bytes that went to ``to``.
        down: bytes that came from there.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self.up = self.down = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("localhost", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("localhost", self._to))
                self._open += [near, far]
                threading.Thread(target=self._pass, args=(near, far, "up"), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, "down"), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                setattr(self, way, getattr(self, way) + len(piece))
                target.sendall(piece)
        _shut(source, target)

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        found, self._open = self._open, []
        _shut(*found)

    def close(self) -> None:
        self._listener.close()
        self.cut()


def _shut(*ends: socket.socket) -> None:
    for each in ends:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before ``url``, and the URL to dial instead."""
    proxy = Proxy(int(url.rsplit(":", 1)[1]))
    try:
        yield proxy, f"grpc://localhost:{proxy.port}"
    finally:
        proxy.close()
