# SPDX-License-Identifier: Apache-2.0
"""What stands where a site's sandboxed trainer stands, in tests that are not about the trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.numpy

from cloister.egress import write_adapter
from cloister.messages import Done, Evaluate, Setup, Train
from cloister.sandbox import Enclosure, SandboxMode


class TrainerInMemory:
    """Stands where the sandboxed process stands: adds one to every value, and says what it was told to say."""

    def __init__(self, enclosure: Enclosure, setup: Setup, *, mode: SandboxMode, maximum_blob_bytes: int) -> None:
        self.enclosure, self.setup, self.mode = enclosure, setup, mode
        self.restarts = 0
        self.closed = 0
        self.records = 4
        self.metrics: dict[str, float] = {"accuracy": 0.5, "loss": 1.2, "names": 7.0}
        self.answer: Callable[[bytes], bytes] = lambda blob: blob
        TrainerInMemory.last = self

    last: TrainerInMemory

    def start(self, timeout_seconds: float) -> None:
        assert (self.enclosure.view / "train.parquet").is_file()

    def ask_in_files(self, message: Train | Evaluate, request: Path, answer: Path, timeout_seconds: float) -> Done:
        if isinstance(message, Evaluate):
            return Done(metrics=self.metrics, records=0)
        answer.write_bytes(self.answer(request.read_bytes()))
        return Done(metrics={**self.metrics, "train_loss": 1.5}, records=self.records)

    def close(self) -> None:
        self.closed += 1


def add_one(blob: bytes) -> bytes:
    return write_adapter({name: value + 1 for name, value in safetensors.numpy.load(blob).items()})
