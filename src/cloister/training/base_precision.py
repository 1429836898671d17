# SPDX-License-Identifier: Apache-2.0
"""In how many bits a frozen base model of text is held while its adapter is trained.

What is trained, and what leaves, is float32. A base model in fewer bits computes in bfloat16, in measuring too.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from cloister.errors import TrainerError
from cloister.messages import Setup

_OUTPUT = "lm_head"
"""Of a language model; it is no adapted layer, and PEFT's 4-bit layers need not stand there."""


def loading_options(setup: Setup) -> dict[str, Any]:
    """What transformers is told of it when it loads the base model.

    Raises:
        TrainerError: where this machine cannot hold it so; it is never held otherwise instead.
    """
    precision = _precision(setup)
    if precision == "float32":
        return {"dtype": torch.float32}
    if precision == "bfloat16":
        return {"dtype": torch.bfloat16}
    hint = "say `base_model_precision: bfloat16` or `float32` under `method.lora` in the job"
    if not torch.cuda.is_available():
        raise TrainerError("the job holds its base model in nf4, and a trainer sees no GPU here for it", hint=hint)
    if importlib.util.find_spec("bitsandbytes") is None:
        hint = "install `cloister[nf4]` at the site"
        raise TrainerError("the job holds its base model in nf4, and bitsandbytes is not installed here", hint=hint)
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - asks for bitsandbytes

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*setup.head_modules, _OUTPUT],
    )
    return {"dtype": torch.bfloat16, "quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def computing_in_bfloat16(model: Any, setup: Setup, device: torch.device) -> Any:
    """``model``, so that a base model in fewer bits and what is trained in float32 compute together."""
    if _precision(setup) != "float32":
        model.forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    return model


def _precision(setup: Setup) -> str:
    return "float32" if setup.method.lora is None else setup.method.lora.base_model_precision
