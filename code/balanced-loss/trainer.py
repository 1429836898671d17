# SPDX-License-Identifier: Apache-2.0
"""Trains with classes weighed by how rare they are, so that a few emergencies count as much as many routine notes."""

import torch

from cloister.messages import Setup
from cloister.training.text_classifier import TextClassifier


class Trainer(TextClassifier):
    """The built-in trainer with another loss.

    The weight of a class is n / (k * n_c) for n records, k classes and n_c records of that class, as scikit-learn's
    `class_weight="balanced"` has it; a class that does not occur here weighs nothing. Weights are counted over this
    site's own records to train on, and leave it only by what training makes of them.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        counts = torch.bincount(torch.from_numpy(self.training.classes), minlength=len(setup.labels)).float()
        weights = counts.sum() / (len(setup.labels) * counts)
        self.weights = torch.where(counts > 0, weights, torch.zeros_like(weights))

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a batch, in nats, with each record weighed by its class."""
        return torch.nn.functional.cross_entropy(logits, classes, weight=self.weights)
