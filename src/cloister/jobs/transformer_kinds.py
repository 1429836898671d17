# SPDX-License-Identifier: Apache-2.0
"""How transformers builds each kind of base model: which weights it has, and the head that a task puts on it.

Sources are the modules `modeling_<kind>.py` of https://github.com/huggingface/transformers; the tests compare each line
with models that transformers builds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cloister.jobs.tasks import Task

CLASSES, HIDDEN = -1, -2
"""Sizes of a head's layer that the job and the base model decide."""

Head = tuple[tuple[str, int], ...]
"""Linear layers from the hidden size as (name, output size)."""


@dataclass(frozen=True)
class TransformerKind:
    """One `model_type` of transformers.

    Attributes:
        encoder: the attribute under which a task's model holds the base model; its weights' names begin with it.
        layer: pattern of the weights of one layer, whose number is the group; those of two dimensions are linear.
        outside: pattern of the weights before and behind the layers.
        heads: by task, the layers that the task puts on it.
        pooler: of a linear layer behind the first token's, which classifiers of texts alone have.
        output: of the layer that gives tokens, which only language models have.
        tied: whether the output's weight is the embedding's, where the configuration does not say.
        transposed: whether weights of linear layers have the input first, as GPT-2's `Conv1D` has.
        virtual_tokens: whether PEFT can put tokens before its texts.
    """

    encoder: str
    layer: str
    outside: str
    heads: Mapping[Task, Head]
    pooler: str = ""
    output: str = ""
    tied: bool = False
    transposed: bool = False
    virtual_tokens: bool = True

    @cached_property
    def layer_pattern(self) -> re.Pattern[str]:
        """Matches the whole name of a layer's weight below the encoder."""
        return re.compile(self.layer)

    @cached_property
    def outside_pattern(self) -> re.Pattern[str]:
        """Matches the whole name of another weight below the encoder."""
        return re.compile(self.outside)


_BOTH = r"\.(?:weight|bias)"
_BERT_LAYER = (
    r"encoder\.layer\.(\d+)\.(?:attention\.self\.(?:query|key|value)|attention\.output\.(?:dense|LayerNorm)"
    rf"|intermediate\.dense|output\.(?:dense|LayerNorm)){_BOTH}"
)
_BERT_OUTSIDE = (
    rf"embeddings\.(?:(?:word_embeddings|position_embeddings|token_type_embeddings)\.weight|LayerNorm{_BOTH})"
)
_ONE_LAYER: Head = (("classifier", CLASSES),)

_ROBERTA = TransformerKind(
    "roberta",
    _BERT_LAYER,
    _BERT_OUTSIDE,
    {
        Task.TEXT_CLASSIFICATION: (("classifier.dense", HIDDEN), ("classifier.out_proj", CLASSES)),
        Task.TOKEN_CLASSIFICATION: _ONE_LAYER,
    },
)
_LLAMA = TransformerKind(
    "model",
    rf"layers\.(\d+)\.(?:self_attn\.[qkvo]_proj{_BOTH}|self_attn\.[qk]_norm\.weight"
    rf"|mlp\.(?:gate|up|down)_proj{_BOTH}|(?:input|post_attention)_layernorm\.weight)",
    r"(?:embed_tokens|norm)\.weight",
    {Task.CAUSAL_LANGUAGE_MODELLING: ()},
    output="lm_head",
)

KINDS: Mapping[str, TransformerKind] = {
    "bert": TransformerKind(
        "bert",
        _BERT_LAYER,
        _BERT_OUTSIDE,
        {Task.TEXT_CLASSIFICATION: _ONE_LAYER, Task.TOKEN_CLASSIFICATION: _ONE_LAYER},
        pooler="pooler.dense",
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": TransformerKind(
        "distilbert",
        rf"transformer\.layer\.(\d+)\.(?:attention\.(?:q|k|v|out)_lin|ffn\.lin[12]|(?:sa|output)_layer_norm){_BOTH}",
        rf"embeddings\.(?:(?:word|position)_embeddings\.weight|LayerNorm{_BOTH})",
        {
            Task.TEXT_CLASSIFICATION: (("pre_classifier", HIDDEN), ("classifier", CLASSES)),
            Task.TOKEN_CLASSIFICATION: _ONE_LAYER,
        },
        virtual_tokens=False,
    ),
    "gpt2": TransformerKind(
        "transformer",
        rf"h\.(\d+)\.(?:attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj)|ln_[12]){_BOTH}",
        rf"wte\.weight|wpe\.weight|ln_f{_BOTH}",
        {Task.CAUSAL_LANGUAGE_MODELLING: ()},
        output="lm_head",
        tied=True,
        transposed=True,
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}
"""By the `model_type` of a base model's `config.json`."""
