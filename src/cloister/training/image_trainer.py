# SPDX-License-Identifier: Apache-2.0
"""What the trainers of networks for images share: loading, what is trained and exchanged, and the rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs.network_plan import NetworkPlan
from cloister.messages import Setup
from cloister.training.exchange import DifferenceExchange, Exchange, WeightExchange
from cloister.training.image_records import ImageRecords
from cloister.training.images import ImageReader
from cloister.training.interface import Report, Round
from cloister.training.loop import finite, parameter_groups, train_round
from cloister.training.low_rank import LowRankExchange, beside_layers
from cloister.training.networks import SteadyStatistics, network_for, scores
from cloister.training.order import Indices
from cloister.training.placement import settle
from cloister.training.view_columns import TRAINING, VALIDATION


class ImageTrainer(ABC):
    """Network and records of one job at one site; a task says what is minimised and what is measured.

    Args:
        setup: what to load.

    Attributes:
        setup: what was loaded.
        device: where the network lies.
        model: the network with what is trained.
        training: the records to train on.
        validation: the records to measure on.

    Raises:
        TrainerError: where the network is not the one that the job declares.
        RecordsError: where the view does not hold what the job declares.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = settle(setup)
        # On a GPU, pooling and resizing have no gradient that is the same each time, and would be refused.
        torch.use_deterministic_algorithms(True, warn_only=self.device.type != "cpu")
        network = network_for(network_plan(setup)).to(self.device)
        lora = setup.method.lora
        self.model: Any = network if lora is None else beside_layers(network, lora)
        self._exchange: Exchange
        if lora is not None:
            self._exchange = LowRankExchange(self.model, setup.shapes)
        elif setup.base_model is not None:
            self._exchange = DifferenceExchange(self.model, setup.shapes, lambda _: False)
        else:
            self._exchange = WeightExchange(self.model, setup.shapes)
        self._steady = SteadyStatistics(self.model)
        reader = ImageReader(network_plan(setup).imaging, len(setup.labels))
        self.training, self.validation = (
            ImageRecords(setup.view, file, setup.dataset, reader) for file in (TRAINING, VALIDATION)
        )
        if not len(self.training):
            raise RecordsError("the view holds no training records")

    def load_adapter(self, blob: bytes) -> None:
        """Take over the tensors in ``blob``, safetensors of float32.

        Raises:
            TrainerError: where they are not exactly the job's.
        """
        self._exchange.load(blob)

    def adapter(self) -> bytes:
        """What was trained as safetensors of float32."""
        return self._exchange.save()

    def train(self, number: int, report: Report) -> Round:
        """Train for one round, see `cloister.training.loop.train_round`.

        Args:
            number: of the round; with the job's seed it decides order and dropout.
            report: told after every step.

        Raises:
            TrainerError: where the loss is no longer a number.
            RecordsError: where an image is not what the job declares.
        """
        plan = self.setup.training
        return train_round(
            plan,
            number,
            self._steady,
            groups=parameter_groups(self.model.named_parameters(), plan),
            records=len(self.training),
            order=self.training.shuffled(plan.batch_size, (plan.seed, number)),
            loss=self._batch_loss,
            report=report,
        )

    def evaluate(self) -> dict[str, float]:
        """Metrics on the validation records, those that have a value there; empty without records."""
        if not len(self.validation):
            return {}
        self.model.eval()
        seen, loss = [], 0.0
        with torch.inference_mode():
            for chosen in self.validation.in_order(self.setup.training.batch_size):
                images, aim = self.validation.batch(chosen, self.device)
                answer = scores(self.model, images)
                loss += float(self.loss(answer, aim)) * len(chosen)
                seen.append(self.compare(answer, aim).cpu())
        measured = {"loss": loss / len(self.validation), **self.measure(torch.cat(seen))}
        return {name: finite(value) for name, value in measured.items() if value is not None}

    @abstractmethod
    def loss(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean over a batch, a scalar that gradients flow through.

        Args:
            said: by the network, see `cloister.training.networks.scores`.
            aims: what was to be said, see `ImageRecords.batch`.
        """

    @abstractmethod
    def compare(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """What is kept of a batch until all are measured, shape (n, some numbers); both arguments as for `loss`."""

    @abstractmethod
    def measure(self, compared: torch.Tensor) -> dict[str, float | None]:
        """Metrics beside the loss, of all that `compare` gave; None where one has no value."""

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        images, aims = self.training.batch(chosen, self.device)
        return self.loss(scores(self._steady, images), aims)


def network_plan(setup: Setup) -> NetworkPlan:
    """The network that ``setup`` names.

    Raises:
        TrainerError: where it does not say the form of images.
    """
    if setup.imaging is None:
        raise TrainerError(f"task {setup.task} needs the form of its images")
    return NetworkPlan(
        task=setup.task,
        architecture=setup.architecture,
        base_model=setup.base_model,
        imaging=setup.imaging,
        method=setup.method,
        classes=len(setup.labels),
    )
