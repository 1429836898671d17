# SPDX-License-Identifier: Apache-2.0
"""Gives up rights and then becomes the trainer; run by its path, as the last program before the untrusted one.

It is a program of its own, of the standard library alone, because limits set by the parent after the start come too
late, and code between fork and exec deadlocks in a process with threads (as `subprocess` documents of `preexec_fn`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38

_OPEN_FILES = 256
_FILE_BYTES = 64 * 2**20
_NAMESPACE_LIMITS_SINCE = (5, 14)  # the first kernel that counts RLIMIT_NPROC per user namespace


@dataclass(frozen=True)
class Confinement:
    """What a program may use up.

    Attributes:
        python: the interpreter that runs this file.
        address_space: bytes of virtual memory of each process.
        processes: processes and threads of the user namespace; no limit where None.
    """

    python: str
    address_space: int
    processes: int | None

    def argv(self) -> list[str]:
        """The command line to put before the program's own."""
        return [self.python, "-I", "-S", __file__, str(self.address_space), str(self.processes or 0), "--"]


def _main() -> None:
    address_space, processes, mark, *argv = sys.argv[1:]
    if mark != "--" or not argv:
        sys.exit("confine: not a command line of this version")
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            sys.exit(f"confine: prctl: {os.strerror(ctypes.get_errno())}")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_AS, int(address_space))
    if int(processes) and _kernel() >= _NAMESPACE_LIMITS_SINCE:
        _limit(resource.RLIMIT_NPROC, int(processes))
    os.execv(argv[0], argv)  # noqa: S606 - there is no shell, which is the point


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


if __name__ == "__main__":
    _main()
