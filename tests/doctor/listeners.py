# SPDX-License-Identifier: Apache-2.0
"""Servers of the tests: what may answer where the federation's own should."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SECONDS = 5.0

Answer = Callable[[socket.socket], None]
"""What is done with a connection; it is closed afterwards."""


@contextlib.contextmanager
def listening(answer: Answer) -> Iterator[int]:
    """A port of this machine on which every connection gets ``answer``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if ended.is_set():
                        return
                    connection.settimeout(_SECONDS)
                    with contextlib.suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname(), 1).close()
            thread.join(_SECONDS)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue is full, so that the kernel drops what is sent there, as a firewall does."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def context(certificate: Path, key: Path, root: Path, *, needs_ours: bool = True) -> ssl.SSLContext:
    """The server's side of TLS, as gRPC has it."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate, key)
    found.load_verify_locations(root)
    found.verify_mode = ssl.CERT_REQUIRED if needs_ours else ssl.CERT_NONE
    found.set_alpn_protocols(["h2"])
    return found


def federation(tls: ssl.SSLContext, said: bytes = SETTINGS, *, waits: bool = False) -> Answer:
    """A server that demands a certificate and then says ``said``; at once, unless it waits for somebody to speak."""

    def answer(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as stream:
            if waits:
                stream.recv(64)
            stream.sendall(said)
            stream.recv(64)

    return answer


def saying(words: bytes) -> Answer:
    """A service without TLS that waits for something and then says ``words``."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(words)

    return answer


def greeting(words: bytes) -> Answer:
    """A service without TLS that begins to speak by itself."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(words)
        connection.recv(1024)

    return answer


def silent(connection: socket.socket) -> None:
    """Takes whatever comes, and says nothing."""
    while connection.recv(4096):
        pass


def hanging_up(connection: socket.socket) -> None:
    """Ends the connection as soon as somebody has spoken."""
    connection.recv(1024)


def proxy(status: bytes, target: int, seen: list[bytes]) -> Answer:
    """A proxy that answers CONNECT with ``status``, and passes everything on to port ``target`` where that is 200."""

    def answer(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        seen.append(head)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
        if not status.startswith(b"200"):
            return
        with socket.create_connection(("127.0.0.1", target), _SECONDS) as other:
            there = threading.Thread(target=_pass, args=(connection, other), daemon=True)
            there.start()
            _pass(other, connection)
            there.join(_SECONDS)

    return answer


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(4096):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
