# SPDX-License-Identifier: Apache-2.0
"""What a trainer is: five methods. The built-in one has them, and so has a job's own `trainer.py`.

The built-in one can do more: `LeavesFactors` and `HasOwnCopy`, which some rules for aggregation ask of it, and
`ReadsAnew`.

A trainer is made once per process and lives for all rounds of a job. Before each call of `train` or `evaluate` it is
given the round's adapter by `load_adapter`. It keeps nothing that matters from one round to the next: where its
process dies, a new one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cloister.jobs.live_tensors import Factor
from cloister.messages import Setup

Report = Callable[[int, int], None]
"""Told of steps done and steps in all."""


@dataclass(frozen=True)
class Round:
    """What one round of training came to.

    Attributes:
        loss: mean over the records of what was minimised, as they were trained on; for cross-entropy in nats.
        records: how many different records that were; the server weighs by it, and no more than the view holds count.
    """

    loss: float
    records: int


class Trainer(Protocol):
    """Model and records of one job at one site."""

    def __init__(self, setup: Setup) -> None:
        """Load what ``setup`` names: base model, view, and the plan of the training."""

    def load_adapter(self, blob: bytes) -> None:
        """Take over the adapter in ``blob``: safetensors of float32, by the names and shapes in `Setup.shapes`."""

    def adapter(self) -> bytes:
        """The adapter in the same form; the site refuses any other tensor, shape, type, or value that is not finite."""

    def evaluate(self) -> dict[str, float]:
        """Metrics by name on the validation records; those that the policy does not list stay at the site."""

    def train(self, number: int, report: Report) -> Round:
        """Train the adapter for round ``number``, from 1, and call ``report`` after every step."""


@runtime_checkable
class LeavesFactors(Protocol):
    """A trainer that can leave one of the low-rank factors as it came."""

    def freeze(self, frozen: Factor | None) -> None:
        """Leave the factor ``frozen`` as it comes from now on; None to train both. Called before each `train`."""


@runtime_checkable
class HasOwnCopy(Protocol):
    """A trainer that may have a copy of the site's own beside the shared network."""

    def evaluate_copy(self) -> dict[str, float]:
        """Metrics of the copy by the names of `evaluate`; empty where there is none."""


@runtime_checkable
class ReadsAnew(Protocol):
    """A trainer that can go on with the records of another view."""

    def read_anew(self, setup: Setup) -> None:
        """Read the view of ``setup``, which differs from the one before in nothing else; the network stays."""
