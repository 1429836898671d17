# SPDX-License-Identifier: Apache-2.0
"""The trainer's side of the conversation: one request at a time, until the job process ends it.

A setup may come again at any time, and what comes after it is of the view that it names: so one process can go from one
simulated site to the next. A job process in a federation sends one and no other.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from math import prod
from pathlib import Path
from typing import NoReturn, Self

from cloister.errors import TrainerError
from cloister.jobs.metrics import PERSONAL
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
    read_request,
)
from cloister.training.interface import HasOwnCopy, LeavesFactors, ReadsAnew, Trainer
from cloister.training.tasks import trainer_for

_HEADER_BYTES = 1 << 20  # more than a safetensors header of any adapter
_ANY_BYTES = 1 << 40
_PROGRESS_SECONDS = 0.5
_REASON_CHARACTERS = 4000


class HangUpError(Exception):
    """The job process has ended the conversation."""


@dataclass
class Pipe:
    """Both directions to the job process."""

    incoming: BufferedReader
    outgoing: BufferedWriter

    @classmethod
    def from_standard_streams(cls) -> Self:
        """Take over standard input and output: what is printed afterwards goes to standard error."""
        incoming, outgoing = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        return cls(os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb"))

    def receive(self, maximum_blob_bytes: int) -> tuple[Request, bytes]:
        """The next request.

        Raises:
            HangUpError: where there is none, because the job process ended the conversation.
            TrainerError: where what came is no request.
        """
        return read_request(self._read, maximum_blob_bytes=maximum_blob_bytes)

    def send(self, message: Reply, blob: bytes = b"") -> None:
        """Send one reply, or raise `TypeError` before anything is sent where ``blob`` is not bytes."""
        content = memoryview(blob)
        for part in (frame_head(message, content.nbytes), content):  # apart: a blob may be long, and one copy is enough
            self.outgoing.write(part)
        self.outgoing.flush()

    def _read(self, size: int) -> bytes:
        content = self.incoming.read(size)
        if len(content) < size:
            raise HangUpError
        return content


def converse(pipe: Pipe) -> int:
    """Serve requests until the job process hangs up; returns the exit status.

    Whatever goes wrong is told as `Failed` and ends the conversation.
    """
    try:
        _serve(pipe)
    except (HangUpError, BrokenPipeError):
        return 0
    except Exception as error:  # noqa: BLE001 - the trainer's last word: any error is told, and ends it
        traceback.print_exc(file=sys.stderr)
        pipe.send(Failed(reason=f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]))
        return 1


def _serve(pipe: Pipe) -> NoReturn:
    setup, _ = pipe.receive(0)
    if not isinstance(setup, Setup):
        raise TrainerError("the first request was no setup")
    trainer = _trainer(setup)
    pipe.send(Ready())
    while True:
        request, blob = pipe.receive(_maximum_blob_bytes(setup))
        if not isinstance(request, Setup):
            trainer.load_adapter(blob)
            del blob  # while it is trained there is no use for it, and it may be as long as the network
            pipe.send(*_answer(trainer, request, pipe))
            continue
        if isinstance(trainer, ReadsAnew) and _differs_in_view_alone(setup, request):
            trainer.read_anew(request)
        else:
            del trainer  # two networks may be more than fit
            trainer = _trainer(request)
        setup = request
        pipe.send(Ready())


def _differs_in_view_alone(setup: Setup, other: Setup) -> bool:
    """Whether what was loaded for ``setup`` serves ``other``; code that a job brings may keep what nobody knows of."""
    return setup.code is None and setup.model_copy(update={"view": other.view}) == other


def _maximum_blob_bytes(setup: Setup) -> int:
    """The longest blob that the job process sends; what is folded in grows from round to round."""
    shapes = (*setup.shapes.values(), *setup.kept.values())
    return _ANY_BYTES if setup.folds else _HEADER_BYTES + sum(4 * prod(shape) for shape in shapes)


def _trainer(setup: Setup) -> Trainer:
    # Takes seconds, and what it prints must go to standard error by now.
    if setup.code is not None:
        from cloister.training.custom import trainer_class  # noqa: PLC0415

        return trainer_class(Path(setup.code))(setup)
    return trainer_for(setup)


def _answer(trainer: Trainer, request: Train | Evaluate, pipe: Pipe) -> tuple[Done, bytes]:
    if not isinstance(request, Train):
        return Done(metrics=_measured(trainer), records=0), b""
    if isinstance(trainer, LeavesFactors):
        trainer.freeze(request.frozen)
    elif request.frozen is not None:
        raise TrainerError("the round leaves a low-rank factor as it is, and the job's own trainer cannot")
    metrics = _measured(trainer) if request.measure else {}
    round_ = trainer.train(request.round, _Reporter(pipe))
    return Done(metrics={**metrics, "train_loss": round_.loss}, records=round_.records), trainer.adapter()


def _measured(trainer: Trainer) -> dict[str, float]:
    own = trainer.evaluate_copy() if isinstance(trainer, HasOwnCopy) else {}
    return {**trainer.evaluate(), **{PERSONAL + name: value for name, value in own.items()}}


class _Reporter:
    """Reports progress, at most twice a second."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._told = time.monotonic()

    def __call__(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._pipe.send(Progress(step=step, steps=steps))
