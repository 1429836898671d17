# SPDX-License-Identifier: Apache-2.0
"""Classes of pictures and volumes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from cloister.training.image_trainer import ImageTrainer
from cloister.training.metrics import accuracy, auc, macro_f1


class ImageClassifier(ImageTrainer):
    """Network and records of one job at one site, see `ImageTrainer`.

    A job's own trainer may derive from it and override a method, `loss` above all.
    """

    def loss(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean cross-entropy of a batch, in nats.

        Args:
            said: by the network, shape (n, classes), float32.
            aims: the right classes, shape (n,), int64.
        """
        return torch.nn.functional.cross_entropy(said, aims)

    def _training_classes(self) -> npt.NDArray[np.int64]:
        return self.training.classes()

    def compare(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """The right class of each record, then each class's probability, shape (n, 1 + classes), float64."""
        return torch.cat((aims[:, None].double(), said.double().softmax(dim=1)), dim=1)

    def measure(self, compared: torch.Tensor) -> dict[str, float | None]:
        """`accuracy`, `macro_f1` and `auc`; the last has no value where all records are of one class.

        Args:
            compared: what `compare` gave of the validation records.
        """
        truth, probabilities = compared[:, 0].long().numpy(), compared[:, 1:].numpy()
        predicted = probabilities.argmax(axis=1)
        found = {"accuracy": accuracy(truth, predicted), "macro_f1": macro_f1(truth, predicted)}
        return {**found, "auc": auc(truth, probabilities)}
