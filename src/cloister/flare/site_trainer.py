# SPDX-License-Identifier: Apache-2.0
"""The life of a job's trainer at a site: what is written for it, its start, its end; it decides nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cloister.errors import JobError
from cloister.flare.leftover_updates import TENSORS
from cloister.jobs import AdapterLayout, Code, Job
from cloister.jobs.statistics import FeatureStatistics
from cloister.messages import Done, Evaluate, Setup, Train, setup_of
from cloister.sandbox import Enclosure, Limits, SandboxMode
from cloister.silos import Silo

MAXIMUM_RESTARTS = 3
"""How often the trainer may die in one job: each time tells whoever wrote its code one thing more."""

_START_SECONDS = 300.0


class TrainerProcess(Protocol):
    """What is needed of `cloister.sandbox.Trainer`; in a simulation several sites take turns with one."""

    @property
    def restarts(self) -> int:
        """How often the trainer was started anew because it had died."""

    def start(self, timeout_seconds: float) -> None:
        """Start the trainer and wait until it has read the view."""

    def ask_in_files(self, message: Train | Evaluate, request: Path, answer: Path, timeout_seconds: float) -> Done:
        """Let the trainer do one thing."""

    def close(self) -> None:
        """End the trainer; further calls do nothing."""


@dataclass
class SiteTrainer:
    """The trainer of one job.

    Attributes:
        job: what is trained.
        silo: the site's silo document, which says what the trainer may use up.
        private: folder for view, tensors, training code and trainer's log; emptied at the end, except for the log.
        code: the training code that the job brings; None where it brings none.
        process: the isolated process; None before its start.
    """

    job: Job
    silo: Silo
    private: Path
    code: Code | None = None
    process: TrainerProcess | None = None
    _closed: bool = False  # guarded by _closing
    _closing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def view(self) -> Path:
        """The folder that the view is written into."""
        return self.private / "view"

    @property
    def tensors(self) -> Path:
        """The folder for what passes between site and trainer."""
        return self.private / TENSORS

    def running(self) -> TrainerProcess:
        """The isolated process.

        Raises:
            JobError: before its start.
        """
        if self.process is None:
            raise JobError("the server asked for a round before the site was ready")
        return self.process

    def check_restarts(self) -> None:
        """See that it may be asked again: one that dies so often is broken, or tells something by it.

        Raises:
            JobError: before its start, or where it died too often.
        """
        if self.running().restarts >= MAXIMUM_RESTARTS:
            message = f"the trainer died {MAXIMUM_RESTARTS} times in this job, so the site does no further round of it"
            raise JobError(message)

    def start(  # noqa: PLR0913 - what a trainer needs, each by its name
        self,
        make: Callable[..., TrainerProcess],
        layout: AdapterLayout,
        base_model: Path | None,
        protected: tuple[Path, ...],
        mode: SandboxMode,
        statistics: FeatureStatistics | None = None,
        *,
        maximum_blob_bytes: int,
    ) -> None:
        """Start the process, and wait until it has read the view.

        Args:
            make: makes the process.
            layout: the tensors of what is trained.
            base_model: folder with the base model; None where the job declares a network of its own.
            protected: what may not be visible inside.
            mode: how it is isolated.
            statistics: of the features, over all sites, where the task needs them.
            maximum_blob_bytes: the longest blob that is read from it, bytes.

        Raises:
            CloisterError: where it cannot be started, or the job was stopped meanwhile.
        """
        # This process handles the job's own code as text and never imports it.
        code = None if self.code is None else self.code.write(self.private / "code")
        enclosure = Enclosure(self.view, base_model, protected, self._limits(), self.private / "trainer.log", code)
        setup = self._setup(layout, base_model, statistics)
        with self._closing:
            if self._closed:  # while the view was being written: whoever closed the job found no trainer to stop
                self._clear()
                raise JobError("the job was stopped")
            self.process = process = make(enclosure, setup, mode=mode, maximum_blob_bytes=maximum_blob_bytes)
        process.start(_START_SECONDS)

    def ask(self, message: Train | Evaluate, request: Path) -> tuple[Done, Path]:
        """Let it do one thing with the tensors in the file ``request``; returns the file that holds what came back.

        Raises:
            CloisterError: where it was not started, is closed, or fails twice.
        """
        answer = self.tensors / "answer"
        seconds = float(self.silo.capacity.round_seconds)
        return self.running().ask_in_files(message, request, answer, seconds), answer

    def close(self) -> None:
        """Stop the process, remove view, tensors and training code; may be called from any thread, more than once."""
        with self._closing:
            self._closed = True
            if self.process:
                self.process.close()
            self._clear()

    def _clear(self) -> None:
        for folder in (self.view, self.tensors, self.private / "code"):
            shutil.rmtree(folder, ignore_errors=True)

    def _setup(self, layout: AdapterLayout, base_model: Path | None, statistics: FeatureStatistics | None) -> Setup:
        return setup_of(
            self.job,
            self.silo.datasets[self.job.dataset.name],
            layout,
            view=self.view,
            base_model=base_model,
            statistics=statistics,
            aggregation=self.job.aggregation,
            threads=self.silo.capacity.threads,
        )

    def _limits(self) -> Limits:
        capacity = self.silo.capacity
        return Limits(int(capacity.memory_gib * 2**30), capacity.processes, capacity.threads)
