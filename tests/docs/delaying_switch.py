# SPDX-License-Identifier: Apache-2.0
"""An Ethernet switch that keeps each frame for a while, as a long line does; many kernels come without `netem`.

Usage: python delaying_switch.py MILLISECONDS DEVICE… - makes the devices, says `ready`, and ends with its input.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import selectors
import struct
import sys
import time
from itertools import count

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_LONGEST_FRAME = 65536


def open_device(name: str) -> int:
    """Make the network device ``name``; what is sent to it is read from the result, and the other way round."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def main(delay: float, names: list[str]) -> None:
    """Pass frames on, each ``delay`` seconds later, until the input ends."""
    ports = [open_device(name) for name in names]
    print("ready", flush=True)  # noqa: T201
    watch = selectors.DefaultSelector()
    for each in (*ports, 0):
        watch.register(each, selectors.EVENT_READ)
    lines: dict[bytes, int] = {}
    waiting: list[tuple[float, int, int, bytes]] = []
    number = count()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in watch.select(pause):
            if key.fd == 0:
                return
            try:
                frame = os.read(key.fd, _LONGEST_FRAME)
            except OSError:  # the machine was switched off, and its device with it
                watch.unregister(key.fd)
                continue
            lines[frame[6:12]] = key.fd
            heapq.heappush(waiting, (time.monotonic() + delay, next(number), key.fd, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, came_from, frame = heapq.heappop(waiting)
            known = lines.get(frame[:6])
            for port in [each for each in ports if each != came_from] if known is None else [known]:
                try:
                    os.write(port, frame)
                except OSError:  # a full or a closed line loses frames, as lines do
                    continue


if __name__ == "__main__":
    main(float(sys.argv[1]) / 1000, sys.argv[2:])
