# SPDX-License-Identifier: Apache-2.0
"""The site's side of the conversation with a trainer.

What the trainer says is never repeated in an error: it may quote records, and errors travel to the server.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cloister.errors import SandboxError, TrainerError
from cloister.messages import (
    Done,
    Evaluate,
    Failed,
    Progress,
    Ready,
    Reply,
    Request,
    Setup,
    Train,
    frame_head,
    read_reply,
)
from cloister.sandbox.bubblewrap import command, environment, missing
from cloister.sandbox.enclosure import Enclosure, SandboxMode
from cloister.sandbox.log import Log
from cloister.sandbox.mounts import BASE_MODEL, CODE, VIEW
from cloister.sandbox.process import EndedError, LateError, UntrustedProcess

_PROGRESS_SECONDS = 0.2
_HINT = "its own words are in the site's trainer log"


class Trainer:
    """One conversation with a trainer process, which is started anew once per request where it dies.

    One thread at a time may `start` and `ask`; any thread may `close`.

    Raises:
        SandboxError: where the log cannot be written, or there is no view.

    Args:
        enclosure: what it may see and use up.
        setup: the first message; its folders are replaced by what they are called inside. Its view is the
            enclosure's, or lies in that.
        mode: how it is isolated.
        maximum_blob_bytes: the longest blob that is read from it, bytes.
        argv: what to run; `python -m cloister.training` where not given.
        on_progress: told of the steps of a round, at most five times a second.
    """

    def __init__(
        self,
        enclosure: Enclosure,
        setup: Setup,
        *,
        mode: SandboxMode,
        maximum_blob_bytes: int,
        argv: list[str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._enclosure, self._mode, self._maximum_blob_bytes = enclosure, mode, maximum_blob_bytes
        self._setup = self._as_seen_inside(setup)
        self._argv = argv or [sys.executable, "-I", "-m", "cloister.training"]
        self._on_progress = on_progress
        self._log = Log(enclosure.log)
        self._process: UntrustedProcess | None = None
        self._start_seconds = 0.0
        self._restarts = 0
        self._closed = threading.Event()
        self._conversation = threading.RLock()
        self._processes = threading.Lock()

    @property
    def restarts(self) -> int:
        """How often the trainer was started anew because it had died."""
        return self._restarts

    @property
    def pid(self) -> int | None:
        """Process id of the sandbox's outermost process; None where there is none."""
        process = self._process
        return process.pid if process is not None and not process.ended else None

    def start(self, timeout_seconds: float) -> None:
        """Start the trainer and wait until it has loaded base model and view.

        Raises:
            SandboxError: where the sandbox cannot be made here.
            TrainerError: where the trainer does not get ready in time.
        """
        with self._conversation:
            self._start_seconds = timeout_seconds
            try:
                self._begin()
            except EndedError as error:
                raise self._failure("ended before it was ready") from error

    def ask(self, message: Train | Evaluate, blob: bytes, timeout_seconds: float) -> tuple[Done, bytes]:
        """Let the trainer do one thing. Where it dies over it, it is started anew and asked once more.

        Args:
            message: what to do.
            blob: the adapter as safetensors.
            timeout_seconds: for each of the two attempts.

        Raises:
            SandboxError: where the sandbox cannot be made anew.
            TrainerError: where it dies twice, fails, is late or answers with something else; it is gone then.
        """
        with tempfile.TemporaryDirectory(prefix="cloister-") as folder:
            request, answer = Path(folder) / "request", Path(folder) / "answer"
            request.write_bytes(blob)
            return self.ask_in_files(message, request, answer, timeout_seconds), answer.read_bytes()

    def ask_in_files(self, message: Train | Evaluate, request: Path, answer: Path, timeout_seconds: float) -> Done:
        """As `ask`, of an adapter that is in memory here neither on its way there nor on its way back.

        Args:
            message: what to do.
            request: file that holds the adapter as safetensors, and does not change meanwhile.
            answer: where what comes back is written to; empty where nothing does.
            timeout_seconds: for each of the two attempts.

        Raises:
            SandboxError: where the sandbox cannot be made anew.
            TrainerError: where it dies twice, fails, is late or answers with something else; it is gone then.
        """
        with self._conversation:
            try:
                try:
                    return self._attempt(message, request, answer, timeout_seconds)
                except EndedError:
                    self._restarts += 1
                    self._begin()
                    return self._attempt(message, request, answer, timeout_seconds)
            except EndedError as error:
                raise self._failure("died twice over one request") from error

    def turn_to(self, setup: Setup) -> None:
        """Go on with another view, or another job; a trainer that is gone is started anew for it.

        Args:
            setup: as in the constructor; its view lies in the enclosure's.

        Raises:
            SandboxError: where the sandbox cannot be made anew.
            TrainerError: where the trainer does not get ready in time.
        """
        with self._conversation:
            self._setup = self._as_seen_inside(setup)
            try:
                try:
                    self._set_up()
                except EndedError:
                    self._begin()
            except EndedError as error:
                raise self._failure("ended before it was ready") from error

    def close(self) -> None:
        """End the trainer and everything it started. Further calls do nothing."""
        self._closed.set()
        with self._processes:
            process = self._process
        if process is not None:
            process.kill()  # ends a request under way in another thread, which then leaves the conversation
            with self._conversation:
                process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        if self._mode is SandboxMode.BUBBLEWRAP and (sentence := missing()):
            raise SandboxError(sentence)
        if self._process is not None:
            self._process.close()
        inside = self._mode is SandboxMode.BUBBLEWRAP
        argv = command(self._enclosure, self._mode, self._argv)
        # Under bubblewrap the first process inside keeps the environment it was started with, for all to read.
        variables = {} if inside else environment(self._enclosure.limits)
        with self._processes:
            if self._closed.is_set():
                raise TrainerError("the trainer was closed")
            self._process = UntrustedProcess(argv, variables, self._enclosure.limits, self._log)
        self._set_up()

    def _set_up(self) -> None:
        reply = self._exchange(self._setup, None, None, self._start_seconds)
        if not isinstance(reply, Ready):
            raise self._failure("did not get ready")

    def _as_seen_inside(self, setup: Setup) -> Setup:
        enclosure, inside = self._enclosure, self._mode is SandboxMode.BUBBLEWRAP
        if enclosure.view is None:
            raise SandboxError("a trainer needs a view of records")
        view = VIEW if inside else enclosure.view.resolve()
        if Path(setup.view).is_relative_to(enclosure.view):  # one of several, which lie in one folder
            view /= Path(setup.view).relative_to(enclosure.view)
        base_model = code = None
        if enclosure.base_model is not None:
            base_model = str(BASE_MODEL if inside else enclosure.base_model.resolve())
        if enclosure.code is not None:
            code = str(CODE)
        return setup.model_copy(update={"view": str(view), "base_model": base_model, "code": code})

    def _attempt(self, message: Train | Evaluate, request: Path, answer: Path, seconds: float) -> Done:
        reply = self._exchange(message, request, answer if isinstance(message, Train) else None, seconds)
        if not isinstance(reply, Done):
            raise self._failure("answered with something that was not asked for")
        if isinstance(message, Evaluate):
            answer.write_bytes(b"")
        return reply

    def _exchange(self, message: Request, request: Path | None, answer: Path | None, seconds: float) -> Reply:
        """Send one request and read the reply, past reports of progress; its blob goes to ``answer``.

        Raises:
            EndedError: where the trainer is gone.
            TrainerError: where it is there, and is killed for what it did.
        """
        process = self._process
        if process is None or self._closed.is_set():
            raise TrainerError("the trainer is not running")
        deadline = time.monotonic() + seconds
        try:
            process.write(frame_head(message, request.stat().st_size if request else 0), deadline)
            if request:
                process.write_file(request, deadline)
            reply = self._reply(process, answer, deadline)
        except LateError as error:
            raise self._failure(f"did not answer within {seconds:g} seconds") from error
        except EndedError:
            process.kill()
            if self._closed.is_set():
                raise TrainerError("the trainer was closed") from None
            raise
        except BaseException:
            process.kill()  # request and reply may be out of step from here on
            raise
        if isinstance(reply, Failed):
            self._log.note(f"the trainer failed: {reply.reason}")
            raise self._failure("failed")
        return reply

    def _reply(self, process: UntrustedProcess, answer: Path | None, deadline: float) -> Reply:
        told = 0.0
        while True:
            reply, blob_bytes = read_reply(process.reader(deadline), maximum_blob_bytes=self._maximum_blob_bytes)
            if isinstance(reply, Done) and answer is not None:
                process.read_file(answer, blob_bytes, deadline)
            elif blob_bytes:
                raise self._failure("answered with something that was not asked for")
            if not isinstance(reply, Progress):
                return reply
            if self._on_progress is not None and time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                self._on_progress(reply)

    def _failure(self, what: str) -> TrainerError:
        process = self._process
        if process is None:
            return TrainerError(f"the trainer {what}", hint=_HINT)
        process.kill()
        reason = f"the trainer {process.broken_limit}" if process.broken_limit else f"the trainer {what}"
        return TrainerError(reason, hint=_HINT)
