# SPDX-License-Identifier: Apache-2.0
"""What the trainers of base models for text share: loading, what is trained and exchanged, and the rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from cloister.errors import RecordsError, TrainerError
from cloister.messages import Setup
from cloister.training.exchange import DifferenceExchange, Exchange
from cloister.training.interface import Report, Round
from cloister.training.loop import ParameterGroup, parameter_groups, train_round
from cloister.training.low_rank import LowRankExchange, with_factors
from cloister.training.order import Indices
from cloister.training.placement import settle

EVALUATION_BATCH = 64
"""Records that are measured at once."""

_PEFT_PREFIX = "base_model.model."


class TransformerTrainer(ABC):
    """Base model and records of one job at one site; a task says what model that is, and what is done with a batch.

    Args:
        setup: what to load.

    Attributes:
        setup: what was loaded.
        device: where the model lies.
        model: base model with what is trained.

    Raises:
        TrainerError: where what is trained of this base model is not what the job declares.
        RecordsError: where the view does not hold what the job declares.
    """

    auto_class: Any
    """Class of transformers that loads the base model for this task."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = settle(setup)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        base = self._load().to(self.device)
        lora = setup.method.lora
        self.model: Any = base if lora is None else with_factors(base, lora, setup, transposed=_is_transposed(base))
        self._exchange: Exchange = (
            DifferenceExchange(self.model, setup.shapes, self._is_head)
            if lora is None
            else LowRankExchange(self.model, setup.shapes)
        )
        self._read()
        if not self._records():
            raise RecordsError("the view holds no training records")

    def load_adapter(self, blob: bytes) -> None:
        """Take over the tensors in ``blob``, safetensors of float32.

        Raises:
            TrainerError: where they are not exactly the job's.
        """
        self._exchange.load(blob)

    def adapter(self) -> bytes:
        """What was trained as safetensors of float32."""
        return self._exchange.save()

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics by name on the validation records; empty without any."""

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
            groups=self._parameter_groups(),
            records=self._records(),
            order=self._order((plan.seed, number)),
            loss=self._batch_loss,
            report=report,
        )

    @abstractmethod
    def _read(self) -> None:
        """Read the view's records; `self.model` is there by then."""

    @abstractmethod
    def _records(self) -> int:
        """How many records there are to train on."""

    @abstractmethod
    def _order(self, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Batches of indices of training records, without end."""

    @abstractmethod
    def _batch_loss(self, chosen: Indices) -> torch.Tensor:
        """What is minimised of the training records at the indices ``chosen``."""

    def _options(self) -> dict[str, Any]:
        """What `auto_class` is told beside how to load."""
        return {}

    def _load(self) -> Any:
        base, report = self.auto_class.from_pretrained(
            self._base_model,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **self._options(),
        )
        # Drawn at random and not part of what is exchanged, they would differ from what the result is used with.
        invented = sorted(name for name in report["missing_keys"] if not self._is_head(name))
        if invented:
            raise TrainerError(f"the base model lacks {len(invented)} of its weights, such as `{invented[0]}`")
        return base

    @property
    def _base_model(self) -> str:
        if self.setup.base_model is None:
            raise TrainerError(f"task {self.setup.task} needs a base model")
        return self.setup.base_model

    def _tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self._base_model, local_files_only=True, trust_remote_code=False)

    def _longest(self, tokenizer: Any) -> int:
        """The most tokens that a text may have."""
        config = self.model.config
        # RoBERTa counts positions from behind the padding token's number.
        offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0
        positions = config.max_position_embeddings - offset
        return int(min(self.setup.training.maximum_tokens, tokenizer.model_max_length, positions))

    def _is_head(self, name: str) -> bool:
        return name.removeprefix(_PEFT_PREFIX).split(".")[0] in self.setup.head_modules

    def _parameter_groups(self) -> list[ParameterGroup]:
        return parameter_groups(self.model.named_parameters(), self.setup.training, self._is_head)


def _is_transposed(base: Any) -> bool:
    return bool(base.config.model_type == "gpt2")
