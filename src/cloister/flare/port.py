# SPDX-License-Identifier: Apache-2.0
"""TCP ports of this machine: which are free."""

from __future__ import annotations

import socket

from cloister.errors import FederationError

_PORT_TRIES = 20


def is_free(port: int) -> bool:
    """Whether nobody listens on ``port`` of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - asks whether any address is taken; listens to none
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on now.

    Raises:
        FederationError: where there is none.
    """
    for _ in range(_PORT_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if is_free(port):
            return port
    raise FederationError("this machine has no free port")
