# SPDX-License-Identifier: Apache-2.0
"""Classification and regression on columns, by a small network that the job declares.

A number to predict is standardised by its mean and deviation over all sites, so that its unit does not decide how fast
is learnt; `loss` is in such deviations, squared, and the other metrics are in the number's own unit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Task
from cloister.jobs.architecture import FtTransformer, Mlp
from cloister.jobs.tabular_inputs import inputs_of
from cloister.jobs.tabular_layout import HEAD, has_intercept, outputs_of
from cloister.messages import Setup
from cloister.training.exchange import WeightExchange
from cloister.training.interface import Report, Round
from cloister.training.loop import finite, parameter_groups, train_round
from cloister.training.metrics import Numbers, accuracy, auc, macro_f1, mae, r2, rmse
from cloister.training.order import Indices
from cloister.training.placement import settle
from cloister.training.tabular_networks import network_of
from cloister.training.tabular_records import TabularRecords, read_records, target_scaling

EVALUATION_BATCH = 1024
"""Records that are measured at once."""


class TabularTrainer:
    """Network and records of one job at one site.

    A job's own trainer may derive from it and override a method, `loss` above all.

    Args:
        setup: what to load.

    Attributes:
        setup: what was loaded.
        device: where the network lies.
        model: the network.
        training: the records to train on.
        validation: the records to measure on.

    Raises:
        TrainerError: where the network is not the one that the job declares.
        RecordsError: where the view does not hold what the job declares.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = settle(setup)
        plan = None if setup.architecture is None else setup.architecture.network
        if setup.statistics is None or not isinstance(plan, Mlp | FtTransformer):
            raise TrainerError(f"task {setup.task} needs a description of its features, and a network for columns")
        inputs = inputs_of(setup.dataset.features, setup.statistics)
        outputs, intercept = outputs_of(setup.task, len(setup.labels)), has_intercept(setup.task)
        self.model: torch.nn.Module = network_of(plan, inputs, outputs, intercept=intercept).to(self.device)
        self._exchange = WeightExchange(self.model, setup.shapes)
        self._scaling = target_scaling(setup.dataset, setup.statistics)
        self.training, self.validation = (
            read_records(
                Path(setup.view) / f"{name}.parquet",
                inputs=inputs,
                task=setup.task,
                dataset=setup.dataset,
                statistics=setup.statistics,
            )
            for name in ("train", "validation")
        )
        if not len(self.training):
            raise RecordsError("the view holds no training records")

    def load_adapter(self, blob: bytes) -> None:
        """Take over the weights in ``blob``, safetensors of float32.

        Raises:
            TrainerError: where they are not exactly the job's.
        """
        self._exchange.load(blob)

    def adapter(self) -> bytes:
        """The weights as safetensors of float32."""
        return self._exchange.save()

    def train(self, number: int, report: Report) -> Round:
        """Train for one round, see `cloister.training.loop.train_round`.

        Args:
            number: of the round; with the job's seed it decides order and dropout.
            report: told after every step.

        Raises:
            TrainerError: where the loss is no longer a number.
        """
        plan = self.setup.training
        return train_round(
            plan,
            number,
            self.model,
            groups=parameter_groups(self.model.named_parameters(), plan, self._is_head),
            records=len(self.training),
            order=self.training.shuffled(plan.batch_size, (plan.seed, number)),
            loss=self._batch_loss,
            report=report,
        )

    def evaluate(self) -> dict[str, float]:
        """Metrics on the validation records, those that have a value there; empty without records."""
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
        mean, scale = self._scaling
        right, guessed = (np.float64(mean) + np.float64(scale) * values for values in (truth, said[:, 0]))
        return {"rmse": rmse(right, guessed), "mae": mae(right, guessed), "r2": r2(right, guessed)}

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        rows, targets = self.training.batch(chosen, self.device)
        return self.loss(self.model(rows).float(), targets)

    @staticmethod
    def _is_head(name: str) -> bool:
        return name.split(".", maxsplit=1)[0] == HEAD
