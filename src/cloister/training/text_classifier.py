# SPDX-License-Identifier: Apache-2.0
"""A text classifier: a frozen base model, low-rank factors beside some of its layers, and a trained head.

The training loop is written out rather than taken from `transformers.Trainer`, which would write checkpoints, schedule
the learning rate over a horizon that a federated round does not have, and keep optimiser state between rounds.
"""

from __future__ import annotations

import itertools
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from cloister.errors import RecordsError, TrainerError
from cloister.messages import Setup
from cloister.training.classification_records import Batch, ClassificationRecords, read_records
from cloister.training.interface import Report, Round
from cloister.training.metrics import accuracy, macro_f1

_EVALUATION_BATCH = 64
_GRADIENT_NORM = 1.0


class TextClassifier:
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

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        torch.set_num_threads(setup.threads)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(setup.training.seed)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        self.model = _adapted(setup)
        self._check_shapes(get_peft_model_state_dict(self.model))
        self.training, self.validation = _records(setup, self.model.config)

    def load_adapter(self, blob: bytes) -> None:
        """Take over the adapter in ``blob``, safetensors of float32.

        Raises:
            TrainerError: where its tensors are not exactly the job's.
        """
        try:
            tensors = safetensors.torch.load(blob)
        except safetensors.SafetensorError as error:
            raise TrainerError("the adapter that was sent is not safetensors") from error
        self._check_shapes(tensors)
        set_peft_model_state_dict(self.model, tensors)

    def adapter(self) -> bytes:
        """The adapter as safetensors of float32."""
        state = get_peft_model_state_dict(self.model)
        # PyTorch orders by module; sorted, the same adapter is the same bytes.
        tensors = {name: state[name].detach().to(torch.float32).contiguous() for name in sorted(state)}
        content: bytes = safetensors.torch.save(tensors)
        return content

    def evaluate(self) -> dict[str, float]:
        """`accuracy`, `macro_f1` and `loss` (mean cross-entropy, nats) on the validation records; empty without any."""
        if not len(self.validation):
            return {}
        self.model.eval()
        truth, predicted, loss = [], [], 0.0
        with torch.inference_mode():
            for chosen in self.validation.by_length(_EVALUATION_BATCH):
                batch = self.validation.batch(chosen)
                logits = self._logits(batch)
                loss += float(torch.nn.functional.cross_entropy(logits, batch.classes, reduction="sum"))
                truth.append(batch.classes.numpy())
                predicted.append(logits.argmax(dim=1).numpy())
        right, guessed = np.concatenate(truth), np.concatenate(predicted)
        mean = _finite(loss / len(right))
        return {"accuracy": accuracy(right, guessed), "macro_f1": macro_f1(right, guessed), "loss": mean}

    def train(self, number: int, report: Report) -> Round:
        """Train for one round with a new AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101).

        Args:
            number: of the round; with the job's seed it decides order and dropout.
            report: told after every step.

        Raises:
            TrainerError: where the loss is no longer a number.
        """
        plan = self.setup.training
        per_epoch = -(-len(self.training) // plan.batch_size)
        steps = plan.steps or per_epoch * (plan.epochs or 1)
        order = self.training.shuffled(plan.batch_size, (plan.seed, number))
        torch.manual_seed(plan.seed * 1_000_003 + number)
        optimiser = torch.optim.AdamW(self._parameter_groups())
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self.model.train()
        loss, trained, used = 0.0, 0, np.zeros(len(self.training), np.bool_)
        for step, chosen in enumerate(itertools.islice(order, steps), start=1):
            batch = self.training.batch(chosen)
            mean = self.loss(self._logits(batch), batch.classes)
            mean.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            loss += _finite(mean.item()) * len(chosen)
            trained += len(chosen)
            used[chosen] = True
            report(step, steps)
        return Round(loss / trained, int(used.sum()))

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """What training minimises: the mean cross-entropy of a batch, in nats.

        Args:
            logits: of the batch, shape (n, number of classes), float32.
            classes: the right ones, shape (n,), int64.

        Returns:
            A scalar that gradients flow through.
        """
        return torch.nn.functional.cross_entropy(logits, classes)

    def _logits(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        return logits

    def _check_shapes(self, tensors: dict[str, torch.Tensor]) -> None:
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != self.setup.shapes or any(tensor.dtype != torch.float32 for tensor in tensors.values()):
            different = sorted(set(found.items()) ^ set(self.setup.shapes.items()))[:4]
            raise TrainerError(f"the adapter's tensors are not those of the job: {different}")

    def _parameter_groups(self) -> list[dict[str, Any]]:
        plan = self.setup.training
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = plan.learning_rate if ".lora_" in name else (plan.head_learning_rate or plan.learning_rate)
                decay = 0.0 if name.endswith("bias") else plan.weight_decay
                groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": each, "lr": rate, "weight_decay": decay} for (rate, decay), each in groups.items()]


def _adapted(setup: Setup) -> Any:
    numbers = {name: number for number, name in enumerate(setup.labels)}
    base, report = AutoModelForSequenceClassification.from_pretrained(
        setup.base_model,
        num_labels=len(setup.labels),
        id2label=dict(enumerate(setup.labels)),
        label2id=numbers,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # Drawn at random and not part of the adapter, they would differ from what the result is used with.
    invented = [name for name in report["missing_keys"] if name.split(".")[0] not in setup.head_modules]
    if invented:
        raise TrainerError(f"the base model lacks {len(invented)} of its weights, such as `{sorted(invented)[0]}`")
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=setup.lora.rank,
        lora_alpha=setup.lora.alpha,
        lora_dropout=setup.lora.dropout,
        target_modules=list(setup.lora.targets),
        modules_to_save=list(setup.head_modules),
    )
    return get_peft_model(base, lora)


def _records(setup: Setup, config: Any) -> tuple[ClassificationRecords, ClassificationRecords]:
    tokenizer = AutoTokenizer.from_pretrained(setup.base_model, local_files_only=True, trust_remote_code=False)
    longest = min(setup.training.maximum_tokens, tokenizer.model_max_length, _positions(config))
    padding = int(tokenizer.pad_token_id or 0)

    def tokenise(texts: list[str]) -> list[list[int]]:
        tokens: list[list[int]] = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        return tokens

    def read(name: str) -> ClassificationRecords:
        path = Path(setup.view) / f"{name}.parquet"
        return read_records(
            path, text=setup.text, label=setup.label, labels=setup.labels, tokenise=tokenise, padding=padding
        )

    training, validation = read("train"), read("validation")
    if not len(training):
        raise RecordsError("the view holds no training records")
    return training, validation


def _positions(config: Any) -> int:
    # RoBERTa counts positions from behind the padding token's number.
    offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0
    return int(config.max_position_embeddings - offset)


def _finite(value: float) -> float:
    if not isfinite(value):
        raise TrainerError("the loss is no longer a finite number")
    return value
