# SPDX-License-Identifier: Apache-2.0
"""What the trainers of base models for text share: how such a model is loaded, and how its texts become tokens."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from cloister.errors import TrainerError
from cloister.training.low_rank import with_factors
from cloister.training.network_trainer import NetworkTrainer

EVALUATION_BATCH = 64
"""Records that are measured at once."""

_PEFT_PREFIX = "base_model.model."


class TransformerTrainer(NetworkTrainer):
    """Base model and records of one job at one site, see `NetworkTrainer`; a task says what model that is."""

    auto_class: Any
    """Class of transformers that loads the base model for this task."""

    def _network(self) -> Any:
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        base, lora = self._load(), self.setup.method.lora
        transposed = base.config.model_type == "gpt2"
        return base if lora is None else with_factors(base, lora, self.setup, transposed=transposed)

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
            # A head of other classes, which a published classifier brings; the job's own takes its place.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **self._options(),
        )
        invented = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
        # Drawn at random and not part of what is exchanged, they would differ from what the result is used with.
        if lacking := sorted(name for name in invented if not self._is_head(name)):
            raise TrainerError(f"the base model lacks {len(lacking)} of its weights, such as `{lacking[0]}`")
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
