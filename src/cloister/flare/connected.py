# SPDX-License-Identifier: Apache-2.0
"""Whether a service does its work: a server listens on its port, a site has a connection to one that bears it.

For the health checks of containers. It looks at this machine's list of connections, and so makes none itself: one that
is opened and closed every half minute would fill the server's log with handshakes that failed.

Usage: python -m cloister.flare.connected server|site PORT
"""

from __future__ import annotations

import sys

import psutil


def is_connected(kind: str, port: int) -> bool:
    """Whether the server of this machine listens on ``port``, or a site of it is connected to that port."""
    for each in psutil.net_connections(kind="tcp"):
        if kind == "server" and each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            return True
        if kind == "site" and each.status == psutil.CONN_ESTABLISHED and each.raddr and each.raddr.port == port:
            return True
    return False


def has_connection(process: int, port: int) -> bool:
    """Whether a process of this machine, by its number, has a connection to ``port`` of a server."""
    try:
        found = psutil.Process(process).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_ESTABLISHED and each.raddr and each.raddr.port == port for each in found)


def main(arguments: list[str]) -> int:
    """0 where it does, 1 where it does not, 2 where the command line is not understood."""
    if len(arguments) != 2 or arguments[0] not in ("server", "site") or not arguments[1].isdecimal():
        print("usage: python -m cloister.flare.connected server|site PORT", file=sys.stderr)  # noqa: T201
        return 2
    return 0 if is_connected(arguments[0], int(arguments[1])) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
