# SPDX-License-Identifier: Apache-2.0
"""A text classifier: a base model and a trained head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from cloister.errors import TrainerError
from cloister.training.classification_records import Batch, ClassificationRecords, read_records
from cloister.training.loop import finite
from cloister.training.metrics import accuracy, macro_f1
from cloister.training.order import Indices
from cloister.training.transformer import EVALUATION_BATCH, TransformerTrainer


class TextClassifier(TransformerTrainer):
    """Model and records of one job at one site.

    A job's own trainer may derive from it and override a method, `loss` above all.

    Args:
        setup: what to load.

    Attributes:
        setup: what was loaded.
        model: base model with its adapter.
        training: the records to train on.
        validation: the records to measure on.

    Raises:
        TrainerError: where the adapter on this base model is not the one that the job declares.
        RecordsError: where the view does not hold what the job declares.
    """

    auto_class = AutoModelForSequenceClassification
    training: ClassificationRecords
    validation: ClassificationRecords

    def evaluate(self) -> dict[str, float]:
        """`accuracy`, `macro_f1` and `loss` (mean cross-entropy, nats) on the validation records; empty without any."""
        if not len(self.validation):
            return {}
        self.model.eval()
        truth, predicted, loss = [], [], 0.0
        with torch.inference_mode():
            for chosen in self.validation.by_length(EVALUATION_BATCH):
                batch = self.validation.batch(chosen).to(self.device)
                logits = self._logits(batch)
                loss += float(torch.nn.functional.cross_entropy(logits, batch.classes, reduction="sum"))
                truth.append(batch.classes.numpy(force=True))
                predicted.append(logits.argmax(dim=1).numpy(force=True))
        right, guessed = np.concatenate(truth), np.concatenate(predicted)
        mean = finite(loss / len(right))
        return {"accuracy": accuracy(right, guessed), "macro_f1": macro_f1(right, guessed), "loss": mean}

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean cross-entropy of a batch, in nats.

        Args:
            logits: of the batch, shape (n, number of classes), float32.
            classes: the right ones, shape (n,), int64.

        Returns:
            A scalar that gradients flow through.
        """
        return torch.nn.functional.cross_entropy(logits, classes)

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        batch = self.training.batch(chosen).to(self.device)
        return self.loss(self._logits(batch), batch.classes)

    def _logits(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        return logits.float()

    def _options(self) -> dict[str, Any]:
        labels = self.setup.labels
        numbers = {name: number for number, name in enumerate(labels)}
        return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": numbers}

    def _read(self) -> None:
        tokenizer = self._tokenizer()
        longest, padding = self._longest(tokenizer), int(tokenizer.pad_token_id or 0)
        text, label = self.setup.dataset.text, self.setup.dataset.label
        if text is None or label is None:
            raise TrainerError(f"task {self.setup.task} needs a column with text and one with the class")

        def tokenise(texts: list[str]) -> list[list[int]]:
            tokens: list[list[int]] = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
            return tokens

        def read(name: str) -> ClassificationRecords:
            path = Path(self.setup.view) / f"{name}.parquet"
            return read_records(
                path, text=text, label=label, labels=self.setup.labels, tokenise=tokenise, padding=padding
            )

        self.training, self.validation = read("train"), read("validation")

    def _records(self) -> int:
        return len(self.training)

    def _order(self, seed: tuple[int, ...]) -> Iterator[Indices]:
        return self.training.shuffled(self.setup.training.batch_size, seed)
