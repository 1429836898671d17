# SPDX-License-Identifier: Apache-2.0
"""What all built-in trainers share: what they load in which order, what is exchanged, and the rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs.live_tensors import Factor
from cloister.messages import Setup
from cloister.training.calibration import calibrating_scores
from cloister.training.client_rules import train_by
from cloister.training.exchange import exchange_of
from cloister.training.folded_factors import FoldedFactors
from cloister.training.frozen_factor import without_training
from cloister.training.interface import Report, Round
from cloister.training.loop import Correction, ParameterGroup, parameter_groups, train_round
from cloister.training.order import Indices
from cloister.training.placement import settle
from cloister.training.schedule import rate_share
from cloister.training.site_tensors import (
    SiteTensors,
    copies_of,
    network_shapes,
    read_site_tensors,
    write_site_tensors,
)


class Records(Protocol):
    """Records of one file of the view."""

    def __len__(self) -> int:
        """How many there are."""

    def shuffled(self, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Indices in random batches without end: every record once, then all again in another order."""


class NetworkTrainer(ABC):
    """Network and records of one job at one site; a kind of network says how it is made, a task what is minimised.

    Args:
        setup: what to load.

    Attributes:
        setup: what was loaded.
        device: where the network lies.
        model: the network with what is trained.
        training: the records to train on.
        validation: the records to measure on.

    Raises:
        TrainerError: where what is trained is not what the job declares.
        RecordsError: where the view does not hold what the job declares.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = settle(setup)
        self.model: Any = self._network().to(self.device)
        self._exchange = exchange_of(self.model, setup, network_shapes(setup), self._is_head)
        self._folds = FoldedFactors(self.model) if setup.folds else None
        self._beside = SiteTensors()
        self._frozen: Factor | None = None
        self.training: Records
        self.validation: Records
        self.read_anew(setup)

    def read_anew(self, setup: Setup) -> None:
        """Read the records of the view that ``setup`` names, which differs from what was loaded in nothing else.

        Nothing of the former view is left: weights and whatever is beside them come with each request.

        Raises:
            RecordsError: where the view does not hold what the job declares.
        """
        self.setup = setup
        self.training, self.validation = self._read()
        if not len(self.training):
            raise RecordsError("the view holds no training records")
        self._added: torch.Tensor | None = None
        if setup.client is not None and setup.client.calibration is not None:
            scores = calibrating_scores(setup.client.calibration, setup.labels, self._training_classes())
            self._added = torch.from_numpy(scores).to(self.device)

    def load_adapter(self, blob: bytes) -> None:
        """Take over the tensors in ``blob``, safetensors of float32: exchanged ones, kept ones, and those to fold in.

        Raises:
            TrainerError: where they are not exactly the job's.
        """
        self._beside = read_site_tensors(blob, self.setup)
        if self._folds is not None:
            self._folds.fold(self._beside.folded)
        self._exchange.load(self._beside.network)

    def adapter(self) -> bytes:
        """What was trained as safetensors of float32, with what the site keeps."""
        return write_site_tensors(replace(self._beside, network=self._exchange.save()), self.setup)

    def freeze(self, frozen: Factor | None) -> None:
        """Leave the low-rank factor ``frozen`` as it comes from now on; None to train both."""
        self._frozen = frozen

    def evaluate_copy(self) -> dict[str, float]:
        """Metrics of the site's own copy, by the names of `evaluate`; empty where it has none, or none yet."""
        if self._beside.copy is None:
            return {}
        shared = copies_of(self._exchange.save())
        self._exchange.load(self._beside.copy)
        measured = self.evaluate()
        self._exchange.load(shared)
        return measured

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics by name on the validation records, those that have a value there; empty without records."""

    def train(self, number: int, report: Report) -> Round:
        """Train for one round, see `cloister.training.loop.train_round` and `cloister.training.client_rules`.

        Args:
            number: of the round; with the job's seed it decides order and dropout.
            report: told after every step.

        Raises:
            TrainerError: where the loss is no longer a number.
            RecordsError: where a record that is read only now is not what the job declares.
        """
        plan = self.setup.training

        def run(correction: Correction, report: Report) -> Round:
            return train_round(
                plan,
                number,
                self._trained_network(),
                groups=self._parameter_groups(number),
                records=len(self.training),
                order=self.training.shuffled(plan.batch_size, (plan.seed, number)),
                loss=self._batch_loss,
                report=report,
                correction=correction,
            )

        with without_training(self.model, self._frozen):
            return train_by(self.setup.client, self._exchange, self._beside, run, report)

    @abstractmethod
    def _network(self) -> Any:
        """The network with what is trained, before the first weights come."""

    @abstractmethod
    def _read(self) -> tuple[Records, Records]:
        """The records to train on, and those to measure on; `self.model` is there by then."""

    @abstractmethod
    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        """What is minimised of the training records at the indices ``chosen``."""

    def _training_classes(self) -> npt.NDArray[np.int64]:
        """Number of the class of each training record, shape (n,).

        Raises:
            TrainerError: where records are not of one class each.
        """
        raise TrainerError(f"task {self.setup.task} has no classes to calibrate")

    def _calibrated_loss(self, loss: Callable[[torch.Tensor], torch.Tensor], scores: torch.Tensor) -> torch.Tensor:
        """What is minimised of training records, see `cloister.training.calibration`.

        Its value is that of the plain loss, and its gradient that of the calibrated one: of scores that are still
        alike the calibrated one tells how often each class comes at the site, and would in the first `train_loss`.

        Args:
            loss: of scores, a scalar that gradients flow through.
            scores: of the records, shape (n, classes).
        """
        plain = loss(scores)
        if self._added is None:
            return plain
        calibrated = loss(scores + self._added)
        return plain.detach() + (calibrated - calibrated.detach())

    def _trained_network(self) -> torch.nn.Module:
        """What is put into training mode."""
        model: torch.nn.Module = self.model
        return model

    def _is_head(self, name: str) -> bool:  # noqa: ARG002 - kinds of network that have one say which it is
        """Whether a weight of this name is the head's, which is new and has a rate of its own."""
        return False

    def _parameter_groups(self, number: int) -> list[ParameterGroup]:
        plan = self.setup.training
        share = rate_share(plan.schedule, number, self.setup.rounds)
        return parameter_groups(self.model.named_parameters(), plan, self._is_head, share)
