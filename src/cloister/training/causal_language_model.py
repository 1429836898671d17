# SPDX-License-Identifier: Apache-2.0
"""A language model that learns to answer: supervised fine-tuning, with the loss on the answers alone."""

from __future__ import annotations

import math

import torch
from transformers import AutoModelForCausalLM

from cloister.jobs import METRICS
from cloister.training.language_records import LanguageBatch, LanguageRecords, read_language_records
from cloister.training.loop import finite
from cloister.training.order import Indices
from cloister.training.peft_adapter import of_texts
from cloister.training.prompts import Prompts
from cloister.training.transformer import TransformerTrainer
from cloister.training.view_columns import TRAINING, VALIDATION

_LARGEST_LOGARITHM = 700.0  # exp of more is beyond float64


class CausalLanguageModel(TransformerTrainer):
    """Model and records of one job at one site, see `NetworkTrainer`.

    How records become texts, and which tokens are learnt, is told in `cloister.training.prompts`. With `packing` the
    records of one step stand in as few rows as hold them; a record sees none of the others, so that what is learnt is
    the same, and takes less time.

    A job's own trainer may derive from it and override a method, `loss` above all.
    """

    auto_class = AutoModelForCausalLM
    training: LanguageRecords
    validation: LanguageRecords

    def evaluate(self) -> dict[str, float]:
        """Metrics over all learnt tokens of the validation records; empty without any.

        `loss` is the mean cross-entropy per token, in nats, `perplexity` its exponential, no more than a policy can
        grant, and `token_accuracy` the share of tokens that the model thinks likeliest.
        """
        if not len(self.validation):
            return {}
        self.model.eval()
        loss, right, tokens = 0.0, 0, 0
        with torch.inference_mode():
            for chosen in self.validation.by_length(self.setup.training.batch_size):
                logits, wanted = self._answers(self.validation.batch(chosen, self.device))
                loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
                right += int((logits.argmax(dim=1) == wanted).sum())
                tokens += len(wanted)
        if not tokens:
            return {}
        mean = finite(loss / tokens)
        perplexity = min(math.exp(min(mean, _LARGEST_LOGARITHM)), METRICS["perplexity"].most)
        return {"loss": mean, "perplexity": perplexity, "token_accuracy": right / tokens}

    def loss(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean cross-entropy of a batch's learnt tokens, in nats.

        Args:
            logits: of the tokens that are learnt, shape (n, size of the vocabulary), float32; n > 0.
            tokens: the right ones, shape (n,), int64.

        Returns:
            A scalar that gradients flow through.
        """
        return torch.nn.functional.cross_entropy(logits, tokens)

    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        logits, tokens = self._answers(self.training.batch(chosen, self.device))
        # A mean over nothing is no number.
        return self.loss(logits, tokens) if len(tokens) else logits.sum()

    def _answers(self, batch: LanguageBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """For each learnt token what the model expects in its place, and the token itself."""
        # Behind virtual tokens, which PEFT counts itself, positions begin later; no two records share a row then.
        places = {} if self.setup.method.virtual_tokens else {"position_ids": batch.positions}
        output = self.model(input_ids=batch.tokens, use_cache=False, **places)
        learnt = batch.learnt[:, 1:]
        # Taken out before they become float32: a vocabulary is large, and most tokens are not learnt.
        return of_texts(output.logits, batch.tokens)[:, :-1][learnt].float(), batch.tokens[:, 1:][learnt]

    def _read(self) -> tuple[LanguageRecords, LanguageRecords]:
        tokenizer, plan = self._tokenizer(), self.setup.training
        longest = self._longest(tokenizer)
        prompts = Prompts(tokenizer, longest)
        padding = int(tokenizer.pad_token_id or 0)

        def read(file: str) -> LanguageRecords:
            records = read_language_records(self.setup.view, file, self.setup.dataset, prompts)
            return LanguageRecords(records, longest, plan.packing, padding)

        return read(TRAINING), read(VALIDATION)
