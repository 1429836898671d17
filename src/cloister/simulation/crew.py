# SPDX-License-Identifier: Apache-2.0
"""A few trainer processes that go from one simulated site to the next.

A process sees the folder that all views lie in. It is told anew which view it is on whenever the site changes, and all
that it knows of a site comes with each request: so it makes no difference which process serves whom, and when. Code
that a job brings may do as it likes; it gets a process of its own for each visit, which sees one view.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cloister.errors import TrainerError
from cloister.messages import Done, Evaluate, Setup, Train
from cloister.sandbox import Enclosure, SandboxMode, Trainer

_STOPPED = "the simulation was stopped"


@dataclass(frozen=True)
class Visit:
    """What one site needs of a trainer.

    Attributes:
        enclosure: what its trainer would see by itself.
        setup: its first message.
        mode: how it is isolated.
        maximum_blob_bytes: the longest blob that is read from it, bytes.
    """

    enclosure: Enclosure
    setup: Setup
    mode: SandboxMode
    maximum_blob_bytes: int


class _Seat:
    """One process, or none yet."""

    def __init__(self, views: Path, protected: tuple[Path, ...], log: Path) -> None:
        self._views, self._protected, self._log = views, protected, log
        self.trainer: Trainer | None = None
        self.made_for: Visit | None = None
        self.visit: Visit | None = None

    def turn_to(self, visit: Visit, seconds: float) -> Trainer:
        """The process, ready to serve ``visit``; where it does not get so, there is none afterwards."""
        try:
            return self._turned_to(visit, seconds)
        except BaseException:
            self.close()
            raise

    def _turned_to(self, visit: Visit, seconds: float) -> Trainer:
        shared = self.shared(visit)
        if self.trainer is None or self.made_for != shared or visit.enclosure.code is not None:
            self.close()
            self.trainer, self.made_for = self._make(visit, shared), shared
            self.visit = visit
            self.trainer.start(seconds)
        elif self.visit is not visit:
            self.visit = visit
            self.trainer.turn_to(visit.setup)
        return self.trainer

    def shared(self, visit: Visit) -> Visit:
        """What must be the same for one process to serve two visits; what differs in the setup is told to it."""
        code = visit.enclosure.code
        view = self._views if code is None else visit.enclosure.view
        enclosure = replace(visit.enclosure, view=view, protected=self._protected, log=self._log)
        return replace(visit, enclosure=enclosure, setup=visit.setup.model_copy(update={"view": str(self._views)}))

    def _make(self, visit: Visit, shared: Visit) -> Trainer:
        most = visit.maximum_blob_bytes
        return Trainer(shared.enclosure, visit.setup, mode=visit.mode, maximum_blob_bytes=most)

    def close(self) -> None:
        trainer, self.trainer, self.visit = self.trainer, None, None
        if trainer is not None:
            trainer.close()


class Crew:
    """The processes of one simulation.

    Args:
        views: folder that all views lie in.
        protected: what no process may see.
        logs: for each process a file for what it prints; as many threads may ask at once.
    """

    def __init__(self, views: Path, protected: tuple[Path, ...], logs: Sequence[Path]) -> None:
        self._seats = [_Seat(views, protected, log) for log in logs]
        self._free = list(self._seats)
        self._changed = threading.Condition()
        self._closed = False

    def visitor(self, enclosure: Enclosure, setup: Setup, *, mode: SandboxMode, maximum_blob_bytes: int) -> Visitor:
        """What a site has in place of a process of its own."""
        return Visitor(self, Visit(enclosure, setup, mode, maximum_blob_bytes))

    @contextmanager
    def serving(self, visit: Visit, seconds: float) -> Iterator[Trainer]:
        """A process that is on the site of ``visit``, and on no other meanwhile.

        Args:
            visit: whom it serves.
            seconds: how long it may take to get ready.

        Raises:
            SandboxError: where the sandbox cannot be made here.
            TrainerError: where it does not get ready, or the simulation was stopped.
        """
        seat = self._take(visit)
        try:
            trainer = seat.turn_to(visit, seconds)
            if self._closed:
                raise TrainerError(_STOPPED)
            yield trainer
        finally:
            with self._changed:
                self._free.append(seat)
                self._changed.notify()
            if self._closed:
                seat.close()

    def close(self) -> None:
        """End all processes; may be called from any thread, more than once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for seat in self._seats:
            seat.close()

    def _take(self, visit: Visit) -> _Seat:
        """A free seat: one that is on the site, else one that need not start anew for it, else any."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._free) or self._closed)
            if self._closed:
                raise TrainerError(_STOPPED)

            def cost(seat: _Seat) -> int:
                if seat.visit is visit:
                    return 0
                return 1 if seat.made_for == seat.shared(visit) else 2 if seat.trainer is None else 3

            seat = min(self._free, key=cost)
            self._free.remove(seat)
            return seat


class Visitor:
    """A site's trainer, by way of the crew; see `cloister.flare.site_trainer.TrainerProcess`."""

    def __init__(self, crew: Crew, visit: Visit) -> None:
        self._crew, self._visit = crew, visit
        self._seconds = 0.0
        self._restarts = 0
        self._died = False
        self._closed = False

    @property
    def restarts(self) -> int:
        """How often this site's trainer would have been started anew."""
        return self._restarts

    def start(self, timeout_seconds: float) -> None:
        """See that a process gets ready for this site; raises as `cloister.sandbox.Trainer.start`."""
        self._seconds = timeout_seconds
        with self._crew.serving(self._visit, timeout_seconds):
            pass

    def ask_in_files(self, message: Train | Evaluate, request: Path, answer: Path, timeout_seconds: float) -> Done:
        """Let a process do one thing for this site; raises as `cloister.sandbox.Trainer.ask_in_files`."""
        if self._closed:
            raise TrainerError("the trainer is not running")
        if self._died:  # its own process would be gone, and be started anew for this
            self._restarts, self._died = self._restarts + 1, False
        with self._crew.serving(self._visit, self._seconds) as trainer:
            before = trainer.restarts
            try:
                return trainer.ask_in_files(message, request, answer, timeout_seconds)
            except TrainerError:
                self._died = True
                raise
            finally:
                self._restarts += trainer.restarts - before

    def close(self) -> None:
        """Serve this site no more; the process is the crew's."""
        self._closed = True
