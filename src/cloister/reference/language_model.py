# SPDX-License-Identifier: Apache-2.0
"""A very small language model with random weights, made anew on each machine and the same on all of them.

It is a base model in form alone: two of `llama`'s layers (Touvron et al., https://arxiv.org/abs/2302.13971), and a
tokenizer whose tokens are the 256 bytes. It knows nothing. What it learns, it learns from the sites.

Torch and transformers are not used. Weights are whole numbers drawn by PCG64, which become float32 by exact steps: no
logarithm or root, which libraries may round differently.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SHA256 = "80667ed822ada13d3450a62e76e3456e9dbb9f5f9d7b78190f4f57f289e7034d"
"""Of `model.safetensors`, by which jobs and policies pin it."""

END = "<|endoftext|>"

_HIDDEN, _INNER, _LAYERS, _HEADS, _POSITIONS = 96, 256, 2, 4, 512
_BITS = 24  # of a float32's fraction: a whole number of so many bits becomes one without rounding
_SEED = 7


def language_model_files() -> dict[str, bytes]:
    """Its files by name: weights, configuration and tokenizer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {END: 0} | {letter: number for number, letter in enumerate(alphabet, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens([END])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return {
        "model.safetensors": save(_weights(len(vocabulary)), metadata={"format": "pt"}),
        "config.json": _json(_configuration(len(vocabulary))),
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": _json(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": END,
                "pad_token": END,
                "model_max_length": _POSITIONS,
            }
        ),
    }


def _configuration(vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "head_dim": _HIDDEN // _HEADS,
        "max_position_embeddings": _POSITIONS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "dtype": "float32",
    }


def _weights(vocabulary: int) -> dict[str, npt.NDArray[np.float32]]:
    draw = np.random.Generator(np.random.PCG64(_SEED))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, _HIDDEN)}
    for layer in range(_LAYERS):
        stem = f"model.layers.{layer}"
        shapes |= {f"{stem}.self_attn.{name}_proj.weight": (_HIDDEN, _HIDDEN) for name in "qkvo"}
        shapes |= {f"{stem}.mlp.{name}_proj.weight": (_INNER, _HIDDEN) for name in ("gate", "up")}
        shapes[f"{stem}.mlp.down_proj.weight"] = (_HIDDEN, _INNER)
        shapes |= {f"{stem}.{name}_layernorm.weight": (_HIDDEN,) for name in ("input", "post_attention")}
    shapes["model.norm.weight"] = (_HIDDEN,)
    # Uniform from -1/16 to 1/16: a deviation of 0.036, of the size that such layers are started with.
    return {
        name: _uniform(draw, shape) if len(shape) > 1 else np.ones(shape, np.float32) for name, shape in shapes.items()
    }


def _uniform(draw: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    numbers = draw.integers(-(2 ** (_BITS - 1)), 2 ** (_BITS - 1), shape, dtype=np.int64)
    return numbers.astype(np.float32) * np.float32(2.0 ** -(_BITS - 1) / 16)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
