# SPDX-License-Identifier: Apache-2.0
"""What the trainers of networks for images share: how such a network is made, and how it is measured."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch

from cloister.errors import TrainerError
from cloister.jobs.network_plan import NetworkPlan
from cloister.messages import Setup
from cloister.training.bitfit import biases_alone
from cloister.training.image_records import ImageRecords
from cloister.training.images import ImageReader
from cloister.training.loop import finite
from cloister.training.low_rank import beside_layers
from cloister.training.network_trainer import NetworkTrainer
from cloister.training.networks import SteadyStatistics, network_for, scores
from cloister.training.order import Indices
from cloister.training.view_columns import TRAINING, VALIDATION


class ImageTrainer(NetworkTrainer):
    """Network and records of one job at one site, see `NetworkTrainer`; a task says what is measured."""

    training: ImageRecords
    validation: ImageRecords

    def evaluate(self) -> dict[str, float]:
        """Metrics by name on the validation records, those that have a value there; empty without records."""
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

    def _network(self) -> Any:
        network, method = network_for(network_plan(self.setup)), self.setup.method
        if method.bitfit is not None:
            return biases_alone(network)
        return network if method.lora is None else beside_layers(network, method.lora)

    def _read(self) -> tuple[ImageRecords, ImageRecords]:
        reader = ImageReader(network_plan(self.setup).imaging, len(self.setup.labels))
        training, validation = (
            ImageRecords(self.setup.view, file, self.setup.dataset, reader) for file in (TRAINING, VALIDATION)
        )
        return training, validation

    def _trained_network(self) -> torch.nn.Module:
        return SteadyStatistics(self.model)

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        images, aims = self.training.batch(chosen, self.device)
        return self._calibrated_loss(lambda said: self.loss(said, aims), scores(self.model, images))


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
