# SPDX-License-Identifier: Apache-2.0
"""A text classifier: a base model and a trained head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification

from cloister.errors import TrainerError
from cloister.training.classification_records import Batch, ClassificationRecords, read_classification_records
from cloister.training.loop import finite
from cloister.training.metrics import accuracy, macro_f1
from cloister.training.order import Indices
from cloister.training.transformer import EVALUATION_BATCH, TransformerTrainer
from cloister.training.view_columns import TRAINING, VALIDATION


class TextClassifier(TransformerTrainer):
    """Model and records of one job at one site, see `NetworkTrainer`.

    A job's own trainer may derive from it and override a method, `loss` above all.
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
                batch = self.validation.batch(chosen, self.device)
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
        batch = self.training.batch(chosen, self.device)
        return self._calibrated_loss(lambda logits: self.loss(logits, batch.classes), self._logits(batch))

    def _training_classes(self) -> npt.NDArray[np.int64]:
        return self.training.classes

    def _logits(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        return logits.float()

    def _options(self) -> dict[str, Any]:
        labels = self.setup.labels
        numbers = {name: number for number, name in enumerate(labels)}
        return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": numbers}

    def _read(self) -> tuple[ClassificationRecords, ClassificationRecords]:
        tokenizer = self._tokenizer()
        longest, padding = self._longest(tokenizer), int(tokenizer.pad_token_id or 0)
        text, label = self.setup.dataset.text, self.setup.dataset.label
        if text is None or label is None:
            raise TrainerError(f"task {self.setup.task} needs a column with text and one with the class")

        def tokenise(texts: list[str]) -> list[list[int]]:
            tokens: list[list[int]] = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
            return tokens

        def read(file: str) -> ClassificationRecords:
            return read_classification_records(
                self.setup.view,
                file,
                text=text,
                label=label,
                labels=self.setup.labels,
                tokenise=tokenise,
                padding=padding,
            )

        return read(TRAINING), read(VALIDATION)
