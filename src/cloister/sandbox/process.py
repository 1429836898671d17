# SPDX-License-Identifier: Apache-2.0
"""One untrusted process: started, watched, spoken to with deadlines, and killed with all its descendants.

Rules:

1. Standard input and output are pipes that this side never blocks on. Standard error is a pipe as well and not the
   log itself, because a process that holds a file open can truncate it, and can open it again for reading through
   `/proc/self/fd`.
2. The thread that starts the process watches it and lives as long as the process does. Linux sends the signal upon
   the parent's death when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG).
3. Whatever ends the conversation ends the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import psutil

from cloister.errors import SandboxError
from cloister.files import write_pieces
from cloister.sandbox.enclosure import Limits
from cloister.sandbox.log import Log
from cloister.sandbox.usage import broken, tree, usage_of

_LOOK_SECONDS = 0.25
_END_SECONDS = 10.0
_COLLECT_SECONDS = 0.5
_READ_BYTES = 1 << 20


class EndedError(Exception):
    """The process is gone, so nothing more can be read from it or written to it."""


class LateError(Exception):
    """The deadline is over."""


class UntrustedProcess:
    """A running process; see the module for its rules.

    Args:
        argv: what to run.
        environment: all of its environment variables.
        limits: what its tree of processes may use up.
        log: where its standard error goes.

    Raises:
        SandboxError: where it cannot be started.
    """

    def __init__(self, argv: list[str], environment: Mapping[str, str], limits: Limits, log: Log) -> None:
        self._argv, self._environment, self._limits, self._log = argv, dict(environment), limits, log
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._killed = threading.Event()
        self._ended = threading.Event()
        self.broken_limit: str | None = None
        threading.Thread(target=self._live, name="sandbox", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise SandboxError("the sandbox cannot be started") from self._failure

    @property
    def pid(self) -> int:
        """Process id of the outermost process, as the host counts."""
        return self._running.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone with all its descendants."""
        return self._ended.is_set()

    def write(self, content: bytes, deadline: float) -> None:
        """Write all of ``content`` to its standard input.

        Args:
            content: what to write.
            deadline: on `time.monotonic`'s scale.

        Raises:
            EndedError: where it is gone.
            LateError: where it does not read.
        """
        descriptor, rest = _descriptor(self._running.stdin), memoryview(content)
        while rest:
            self._wait(descriptor, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise EndedError from error

    def write_file(self, path: Path, deadline: float) -> None:
        """Write all of the file at ``path`` likewise, piece by piece; it does not change meanwhile."""
        with path.open("rb", buffering=0) as stream:
            while piece := stream.read(_READ_BYTES):
                self.write(piece, deadline)

    def read_file(self, path: Path, size: int, deadline: float) -> None:
        """Read exactly ``size`` bytes of its standard output into the file at ``path``, over what lay there.

        Raises:
            EndedError: where it is gone.
            LateError: where it does not write.
        """
        write_pieces(path, self._pieces(size, deadline), durable=False, over=path)

    def reader(self, deadline: float) -> Callable[[int], bytes]:
        """What reads exactly so many bytes of its standard output, or raises `EndedError` or `LateError`."""
        return lambda size: self._read(size, deadline)

    def kill(self) -> None:
        """End it and all its descendants, and wait until they are gone. May be called from any thread, repeatedly."""
        self._killed.set()
        self._ended.wait(_END_SECONDS)

    def close(self) -> None:
        """Kill it and give back the pipes; no other thread may be reading or writing."""
        self.kill()
        for pipe in (self._running.stdin, self._running.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SandboxError("the sandbox is not running")
        return self._process

    def _live(self) -> None:
        try:
            self._process = process = self._start()
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        try:
            self._watch(process)
        finally:
            _end(process)
            self._log.note(self.broken_limit or f"ended with status {process.returncode}")
            self._ended.set()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self._argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        for end in (process.stdin, process.stdout):
            os.set_blocking(_descriptor(end), False)
            with contextlib.suppress(OSError):  # beyond what one user may have of them, it stays as it is
                fcntl.fcntl(_descriptor(end), fcntl.F_SETPIPE_SZ, _READ_BYTES)
        self._log.pump(process.stderr)
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while not self._killed.wait(_LOOK_SECONDS) and process.poll() is None:
            self.broken_limit = broken(usage_of(process.pid, enough_bytes=self._limits.memory_bytes), self._limits)
            if self.broken_limit:
                return

    def _read(self, size: int, deadline: float) -> bytes:
        content = bytearray(size)
        self._fill(memoryview(content), deadline)
        return bytes(content)

    def _pieces(self, size: int, deadline: float) -> Iterator[memoryview]:
        """``size`` bytes of its standard output; a piece is good until the next one is asked for."""
        buffer = memoryview(bytearray(min(size, _READ_BYTES)))
        for start in range(0, size, _READ_BYTES):
            piece = buffer[: size - start]
            self._fill(piece, deadline)
            yield piece

    def _fill(self, rest: memoryview, deadline: float) -> None:
        descriptor = _descriptor(self._running.stdout)
        while rest:
            self._wait(descriptor, select.POLLIN, deadline)
            try:
                count = os.readv(descriptor, [rest])
            except BlockingIOError:
                continue
            if not count:
                raise EndedError
            rest = rest[count:]

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            # Looked at before the poll: what it wrote before it ended is still read.
            ended = self.ended
            left = deadline - time.monotonic()
            ready = bool(poll.poll(max(0.0, min(left, _LOOK_SECONDS)) * 1000))
            if ready and left > 0:
                return
            if ended and not ready:
                raise EndedError
            if left <= 0:  # also where there is more to read: who keeps talking does not gain time
                raise LateError


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise SandboxError("the sandbox has no pipe")
    return pipe.fileno()


def _end(process: subprocess.Popen[bytes]) -> None:
    # From the inside out: with the first process of a PID namespace the kernel kills all others in it, and bubblewrap
    # then collects it and ends by itself. Killed outside first, it would leave that to the machine's init.
    descendants = _processes(tree(process.pid)[1:])
    for each in descendants:
        with contextlib.suppress(psutil.Error):
            each.kill()
    if descendants:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_COLLECT_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_END_SECONDS)
    deadline = time.monotonic() + _END_SECONDS
    while any(_runs(each) for each in descendants) and time.monotonic() < deadline:
        time.sleep(_COLLECT_SECONDS / 50)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _processes(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found
