# SPDX-License-Identifier: Apache-2.0
"""A classifier of tokens, which finds pieces of a text and says what they are: a base model and a trained head."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForTokenClassification

from cloister.errors import TrainerError
from cloister.jobs.tags import tags_of
from cloister.training.entities import EntityCount
from cloister.training.loop import finite
from cloister.training.order import Indices
from cloister.training.peft_adapter import of_texts
from cloister.training.token_records import NO_TAG, Encoded, TokenBatch, TokenRecords, read_token_records
from cloister.training.transformer import EVALUATION_BATCH, TransformerTrainer
from cloister.training.view_columns import TRAINING, VALIDATION


class TokenClassifier(TransformerTrainer):
    """Model and records of one job at one site, see `NetworkTrainer`.

    A job's own trainer may derive from it and override a method, `loss` above all. Which token has which tag is told in
    `cloister.training.token_records`.
    """

    auto_class = AutoModelForTokenClassification
    training: TokenRecords
    validation: TokenRecords

    def evaluate(self) -> dict[str, float]:
        """Metrics on the validation records; empty without any.

        `entity_f1` is over exact pieces, micro-averaged; pieces that a text which was cut has lost count as not found.
        `token_accuracy` is the share of tokens with the right tag, `loss` the mean cross-entropy per token, in nats.
        """
        if not len(self.validation):
            return {}
        self.model.eval()
        loss, right, tokens = 0.0, 0, 0
        pieces = EntityCount(marked=self.validation.lost)
        with torch.inference_mode():
            for chosen in self.validation.by_length(EVALUATION_BATCH):
                batch = self.validation.batch(chosen, self.device)
                logits, tags = self._logits(batch), batch.tags[batch.tags != NO_TAG]
                loss += float(torch.nn.functional.cross_entropy(logits, tags, reduction="sum"))
                predicted = logits.argmax(dim=1)
                right += int((predicted == tags).sum())
                tokens += len(tags)
                lengths = (batch.tags != NO_TAG).sum(dim=1).tolist()
                for truth, guess in zip(torch.split(tags, lengths), torch.split(predicted, lengths), strict=True):
                    pieces.add(truth.tolist(), guess.tolist())
        if not tokens:
            return {}
        return {"entity_f1": pieces.f1(), "token_accuracy": right / tokens, "loss": finite(loss / tokens)}

    def loss(self, logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean cross-entropy of a batch's tokens, in nats.

        Args:
            logits: of the tokens that have a tag, shape (n, number of tags), float32; n > 0.
            tags: the right ones, shape (n,), int64, numbered as in `cloister.jobs.tags`.

        Returns:
            A scalar that gradients flow through.
        """
        return torch.nn.functional.cross_entropy(logits, tags)

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        batch = self.training.batch(chosen, self.device)
        logits, tags = self._logits(batch), batch.tags[batch.tags != NO_TAG]
        # A batch of empty texts has nothing to learn from, and a mean over nothing is no number.
        return self.loss(logits, tags) if len(tags) else logits.sum()

    def _logits(self, batch: TokenBatch) -> torch.Tensor:
        """Of the tokens that have a tag, one after another, shape (n, number of tags), float32."""
        logits: torch.Tensor = self.model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        return of_texts(logits, batch.tokens)[batch.tags != NO_TAG].float()

    def _options(self) -> dict[str, Any]:
        tags = tags_of(self.setup.labels)
        numbers = {tag: number for number, tag in enumerate(tags)}
        return {"num_labels": len(tags), "id2label": dict(enumerate(tags)), "label2id": numbers}

    def _read(self) -> tuple[TokenRecords, TokenRecords]:
        tokenizer = self._tokenizer()
        longest, padding = self._longest(tokenizer), int(tokenizer.pad_token_id or 0)
        text, entities = self.setup.dataset.text, self.setup.dataset.entities
        if text is None or entities is None:
            raise TrainerError(f"task {self.setup.task} needs a column with text and one with marked pieces of it")
        if not tokenizer.is_fast:
            raise TrainerError("the base model's tokenizer cannot tell where its tokens lie in the text")

        def encode(texts: list[str]) -> list[Encoded]:
            told = tokenizer(
                texts,
                truncation=True,
                max_length=longest,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
            )
            columns = (told["input_ids"], told["offset_mapping"], told["special_tokens_mask"])
            return [Encoded(*row) for row in zip(*columns, strict=True)]

        def read(file: str) -> TokenRecords:
            return read_token_records(
                self.setup.view,
                file,
                text=text,
                entities=entities,
                labels=self.setup.labels,
                encode=encode,
                padding=padding,
            )

        return read(TRAINING), read(VALIDATION)
