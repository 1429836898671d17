# SPDX-License-Identifier: Apache-2.0
"""A limit on how long a server may say nothing while somebody waits for it.

A server's own time limits do not help where the server itself hangs, or the way to it is cut without a word: whoever
reads from the connection would wait for ever.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType


class SilenceWatch:
    """Shuts a connection when it has been silent for too long, so that whoever reads from it gets an error.

    Attributes:
        fired: whether it did.
    """

    def __init__(self, descriptor: int, seconds: float, cancel: Callable[[], None]) -> None:
        """Watch nothing yet.

        Args:
            descriptor: of the connection's socket.
            seconds: the longest silence.
            cancel: asks the server to leave off what it does; may fail.
        """
        self.fired = False
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._seconds = seconds
        self._cancel = cancel
        self._until: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)

    def __enter__(self) -> SilenceWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While somebody waits for the server."""
        self.heard()
        try:
            yield
        finally:
            self._until = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While nobody waits, though the server may have more to say."""
        self._until = None
        try:
            yield
        finally:
            self.heard()

    def heard(self) -> None:
        """The server said something."""
        self._until = time.monotonic() + self._seconds

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, self._seconds / 10)):
            until = self._until
            if until is not None and time.monotonic() > until:
                self.fired = True
                with suppress(Exception):  # the connection is given up in any case
                    self._cancel()
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return
