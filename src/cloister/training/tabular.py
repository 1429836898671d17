# SPDX-License-Identifier: Apache-2.0
"""Classification and regression on columns, by a small network that the job declares.

A number to predict is standardised by its mean and deviation over all sites, so that its unit does not decide how fast
is learnt; `loss` is in such deviations, squared, and the other metrics are in the number's own unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cloister.errors import TrainerError
from cloister.jobs import Task
from cloister.jobs.architecture import FtTransformer, Mlp
from cloister.jobs.statistics import FeatureStatistics
from cloister.jobs.tabular_inputs import TabularInputs, inputs_of
from cloister.jobs.tabular_layout import HEAD, has_intercept, outputs_of
from cloister.training.loop import finite
from cloister.training.metrics import Numbers, accuracy, auc, macro_f1, mae, r2, rmse
from cloister.training.network_trainer import NetworkTrainer
from cloister.training.order import Indices
from cloister.training.tabular_networks import network_of
from cloister.training.tabular_records import TabularRecords, read_tabular_records, target_scaling
from cloister.training.view_columns import TRAINING, VALIDATION

EVALUATION_BATCH = 1024
"""Records that are measured at once."""


class TabularTrainer(NetworkTrainer):
    """Network and records of one job at one site, see `NetworkTrainer`.

    A job's own trainer may derive from it and override a method, `loss` above all.
    """

    training: TabularRecords
    validation: TabularRecords

    def evaluate(self) -> dict[str, float]:
        """Metrics by name on the validation records, those that have a value there; empty without records."""
        if not len(self.validation):
            return {}
        said = self.predict(self.validation)
        measured = {"loss": float(self.loss(said, self.validation.targets)), **self.measure(said.numpy())}
        return {name: finite(value) for name, value in measured.items() if value is not None}

    def predict(self, records: TabularRecords) -> torch.Tensor:
        """What the network says of ``records``, shape (n, outputs), float32, on the CPU."""
        self.model.eval()
        with torch.inference_mode():
            chunks = [
                self.model(records.batch(chosen, self.device)[0]) for chosen in records.in_order(EVALUATION_BATCH)
            ]
        return torch.cat(chunks).float().cpu()

    def loss(self, said: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What training minimises: of classes the mean cross-entropy in nats, of numbers the mean squared error.

        Args:
            said: by the network, shape (n, outputs), float32.
            targets: see `TabularRecords`, of the same records.

        Returns:
            A scalar that gradients flow through.
        """
        if self.setup.task is Task.TABULAR_CLASSIFICATION:
            return torch.nn.functional.cross_entropy(said, targets)
        return torch.nn.functional.mse_loss(said[:, 0], targets)

    def measure(self, said: Numbers) -> dict[str, float | None]:
        """Metrics beside the loss on the validation records; None where one has no value for them.

        Args:
            said: of the validation records, shape (n, outputs).
        """
        truth = self.validation.targets.numpy()
        if self.setup.task is Task.TABULAR_CLASSIFICATION:
            predicted = said.argmax(axis=1)
            probabilities = torch.from_numpy(said).double().softmax(dim=1).numpy()
            scores = {"accuracy": accuracy(truth, predicted), "macro_f1": macro_f1(truth, predicted)}
            return {**scores, "auc": auc(truth, probabilities)}
        mean, scale = target_scaling(self.setup.dataset, self._statistics)
        right, guessed = (np.float64(mean) + np.float64(scale) * values for values in (truth, said[:, 0]))
        return {"rmse": rmse(right, guessed), "mae": mae(right, guessed), "r2": r2(right, guessed)}

    def _network(self) -> Any:
        setup = self.setup
        plan = None if setup.architecture is None else setup.architecture.network
        if not isinstance(plan, Mlp | FtTransformer):
            raise TrainerError(f"task {setup.task} needs a network for columns")
        outputs, intercept = outputs_of(setup.task, len(setup.labels)), has_intercept(setup.task)
        return network_of(plan, self._inputs, outputs, intercept=intercept)

    def _read(self) -> tuple[TabularRecords, TabularRecords]:
        training, validation = (
            read_tabular_records(
                self.setup.view,
                file,
                inputs=self._inputs,
                task=self.setup.task,
                dataset=self.setup.dataset,
                statistics=self._statistics,
            )
            for file in (TRAINING, VALIDATION)
        )
        return training, validation

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        rows, targets = self.training.batch(chosen, self.device)
        return self._calibrated_loss(lambda said: self.loss(said, targets), self.model(rows).float())

    def _training_classes(self) -> npt.NDArray[np.int64]:
        if self.setup.task is not Task.TABULAR_CLASSIFICATION:
            return super()._training_classes()
        return self.training.targets.numpy()

    def _is_head(self, name: str) -> bool:
        return name.split(".", maxsplit=1)[0] == HEAD

    @property
    def _statistics(self) -> FeatureStatistics:
        if self.setup.statistics is None:
            raise TrainerError(f"task {self.setup.task} needs a description of its features")
        return self.setup.statistics

    @property
    def _inputs(self) -> TabularInputs:
        return inputs_of(self.setup.dataset.features, self._statistics)
