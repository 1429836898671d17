# SPDX-License-Identifier: Apache-2.0
"""Gives up rights and then becomes the trainer; run by its path, as the last program before the untrusted one.

Beside limits it sets a filter of system calls (seccomp(2)). It refuses what training never needs: memory that belongs
to no process and would escape the watchdog's count (System V, memfd), and parts of the kernel that have often been the
way out of a sandbox (keys, BPF, io_uring, userfaultfd, mounts, modules). And it refuses sockets of every family but
those that stay inside a network namespace: AF_VSOCK does not, and reaches a virtual machine's host.

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
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_OPEN_FILES = 256
_FILE_BYTES = 64 * 2**20
_NAMESPACE_LIMITS_SINCE = (5, 14)  # the first kernel that counts RLIMIT_NPROC per user namespace

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENT_OFFSET = 0, 4, 16  # of the first argument its lower half
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000  # _REFUSE: fail with EPERM
_NO_SUCH_FAMILY = 0x00050061  # fail with EAFNOSUPPORT
_X32 = 0x40000000  # from here on x86-64 counts the same calls once more

# Name in linux/audit.h of each machine, and its place in the pairs below.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

REFUSED_CALLS = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "syslog": (103, 116),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
}
"""Numbers of the refused system calls on x86-64 and on 64-bit Arm (asm/unistd.h)."""

_SOCKET = (41, 198)
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6 (linux/socket.h)


@dataclass(frozen=True)
class Confinement:
    """What a program may use up.

    Attributes:
        python: the interpreter that runs this file.
        address_space: bytes of virtual memory of each process.
        processes: processes and threads of the user namespace; no limit where 0.
        filtered: whether system calls are filtered.
    """

    python: str
    address_space: int
    processes: int
    filtered: bool

    def argv(self) -> list[str]:
        """The command line to put before the program's own."""
        return [self.python, "-I", "-S", __file__, *self._words(), "--"]

    def _words(self) -> list[str]:
        return [str(self.address_space), str(self.processes), "filtered" if self.filtered else "unfiltered"]


def _main() -> None:
    address_space, processes, filtered, mark, *argv = sys.argv[1:]
    if mark != "--" or not argv or filtered not in ("filtered", "unfiltered"):
        sys.exit("confine: not a command line of this version")
    libc = ctypes.CDLL(None, use_errno=True)
    _control(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_AS, int(address_space))
    if int(processes) and _kernel() >= _NAMESPACE_LIMITS_SINCE:
        _limit(resource.RLIMIT_NPROC, int(processes))
    if filtered == "filtered":
        _filter(libc)
    os.execv(argv[0], argv)  # noqa: S606 - there is no shell, which is the point


def _control(libc: ctypes.CDLL, option: int, *values: object) -> None:
    rest = [ctypes.c_ulong(0)] * (4 - len(values))
    if libc.prctl(option, *values, *rest) != 0:
        sys.exit(f"confine: prctl {option}: {os.strerror(ctypes.get_errno())}")


class _Instruction(ctypes.Structure):
    """`struct sock_filter`."""

    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _filter(libc: ctypes.CDLL) -> None:
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        sys.exit(f"confine: no filter of system calls is known for {os.uname().machine}")
    architecture, column = machine
    refused = [numbers[column] for numbers in REFUSED_CALLS.values()]
    sockets = [
        (_IF_EQUAL, 0, len(_FAMILIES) + 3, _SOCKET[column]),
        (_LOAD, 0, 0, _ARGUMENT_OFFSET),
        *((_IF_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)),
        (_RETURN, 0, 0, _NO_SUCH_FAMILY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_IF_AT_LEAST, len(sockets) + len(refused) + 1, 0, _X32),
        *sockets,
        # Each jumps over the rest of the list and over the permission behind it.
        *((_IF_EQUAL, len(refused) - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    _control(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_Program(len(steps), instructions)))


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


if __name__ == "__main__":
    _main()
