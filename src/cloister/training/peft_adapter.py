# SPDX-License-Identifier: Apache-2.0
"""What PEFT adds to a base model of text: factors, scales, or virtual tokens; the base model itself is frozen."""

from __future__ import annotations

from typing import Any

import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType, get_peft_model

from cloister.jobs.adapter import rank_in
from cloister.jobs.peft_config import peft_settings
from cloister.messages import Setup


def with_adapter(base: Any, setup: Setup, *, transposed: bool = False) -> Any:
    """``base``, frozen, with what the job's method adds to it, and a head that is trained whole.

    Args:
        base: a model of transformers.
        setup: names method, task and the head's modules; its shapes tell the rank, which a site's policy may lower.
        transposed: whether the layers' weights have the input first, as those of GPT-2 have.
    """
    settings = peft_settings(
        setup.method, setup.task, setup.head_modules, transposed=transposed, rank=rank_in(setup.shapes)
    )
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(settings.pop("peft_type"))]
    model: Any = get_peft_model(base, kind(**settings))
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            # A head takes after a base model that is held in few bits; what is trained must not.
            parameter.data = parameter.data.to(torch.float32)
    return model


def of_texts(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """``logits`` without those of virtual tokens, which stand before the texts.

    Args:
        logits: shape (n, virtual tokens + length, outputs); without virtual tokens where the method has none.
        tokens: shape (n, length).
    """
    return logits[:, logits.shape[1] - tokens.shape[1] :]
