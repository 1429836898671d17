# SPDX-License-Identifier: Apache-2.0
"""What the trainers of base models for text share: how such a model is loaded, and how its texts become tokens."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from cloister.errors import TrainerError
from cloister.jobs.adapter import module_of
from cloister.training.base_precision import computing_in_bfloat16, loading_options
from cloister.training.bitfit import biases_alone
from cloister.training.network_trainer import NetworkTrainer
from cloister.training.peft_adapter import with_adapter

EVALUATION_BATCH = 64
"""Records that are measured at once."""


class TransformerTrainer(NetworkTrainer):
    """Base model and records of one job at one site, see `NetworkTrainer`; a task says what model that is."""

    auto_class: Any
    """Class of transformers that loads the base model for this task."""

    def _network(self) -> Any:
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        base, method = self._load(), self.setup.method
        if method.full is not None:
            return base
        if method.bitfit is not None:
            return biases_alone(base, self._is_head)
        model = with_adapter(base, self.setup, transposed=base.config.model_type == "gpt2")
        return computing_in_bfloat16(model, self.setup, self.device)

    def _options(self) -> dict[str, Any]:
        """What `auto_class` is told beside how to load."""
        return {}

    def _load(self) -> Any:
        base, report = self.auto_class.from_pretrained(
            self._base_model,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            # A head of other classes, which a published classifier brings; the job's own takes its place.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **loading_options(self.setup),
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
        return self._loaded_tokenizer

    @cached_property
    def _loaded_tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self._base_model, local_files_only=True, trust_remote_code=False)

    def _longest(self, tokenizer: Any) -> int:
        """The most tokens that a text may have, beside virtual ones."""
        config = self.model.config
        # RoBERTa counts positions from behind the padding token's number.
        offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0
        positions = config.max_position_embeddings - offset - self.setup.method.virtual_tokens
        if positions < 1:
            raise TrainerError(f"tokens of `{self.setup.method.name}` leave no place for a text in this base model")
        return int(min(self.setup.training.maximum_tokens, tokenizer.model_max_length, positions))

    def _is_head(self, name: str) -> bool:
        return module_of(name) in self.setup.head_modules
