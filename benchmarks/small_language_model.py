# SPDX-License-Identifier: Apache-2.0
"""Makes a small language model from public text: a tokenizer and a few million weights, as a folder that jobs can name.

Run it: .venv/bin/python benchmarks/small_language_model.py FOLDER [--kind llama] [--steps 400] [--seed 1]

The text is the Medical Abstracts corpus, 2888 abstracts, where it lies beside the project. A byte-level BPE tokenizer
is trained on it, then a decoder from random weights, on two cores in under three minutes. The same text and seed give
the same folder on the same machine. It knows some medical English and no more: it is good for showing that fine-tuning
works, and for nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from tests.medical_abstracts import find, read
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

END = "<|endoftext|>"


@dataclass(frozen=True)
class Size:
    """Of a decoder.

    Attributes:
        hidden: what a layer gives.
        layers: how many.
        heads: of attention, in each layer.
        inner: of the part that is not attention.
        positions: the most tokens of a text.
        vocabulary: the most tokens that there are.
    """

    hidden: int = 192
    layers: int = 4
    heads: int = 4
    inner: int = 512
    positions: int = 512
    vocabulary: int = 4096


def make_tokenizer(texts: Sequence[str], size: Size = Size()) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Sennrich et al., https://aclanthology.org/P16-1162), trained on ``texts``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=size.positions
    )


def initial_model(
    tokenizer: PreTrainedTokenizerFast,
    kind: str = "llama",
    size: Size = Size(),
    seed: int = 1,
) -> PreTrainedModel:
    """A decoder of random weights, its output tied to its embedding.

    Args:
        tokenizer: gives its vocabulary.
        kind: `llama`, or another of its shape, or `gpt2`.
        size: how large.
        seed: of the weights.
    """
    sizes = (
        {"n_embd": size.hidden, "n_layer": size.layers, "n_head": size.heads, "n_inner": size.inner}
        | {"n_positions": size.positions, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        if kind == "gpt2"
        else {
            "hidden_size": size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads,
            "head_dim": size.hidden // size.heads,
            "intermediate_size": size.inner,
            "max_position_embeddings": size.positions,
        }
    )
    end = tokenizer.eos_token_id
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        tie_word_embeddings=True,
        **sizes,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    steps: int,
    batch: int = 8,
    length: int = 128,
    seed: int = 1,
) -> Iterator[float]:
    """Train ``model`` on ``texts``, one after another with the end token between; yields each step's loss, in nats."""
    joined = [number for text in tokenizer(list(texts))["input_ids"] for number in [*text, tokenizer.eos_token_id]]
    stream = torch.tensor(joined)
    random = np.random.Generator(np.random.PCG64(seed))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warmup = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warmup, 0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
    )
    model.train()
    for _ in range(steps):
        starts = random.integers(0, len(stream) - length, batch)
        tokens = torch.stack([stream[start : start + length] for start in starts])
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        yield loss.item()
    model.eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """Write both into ``folder`` as a base model; returns the SHA-256 by which a job pins it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def make(folder: Path, texts: Sequence[str], *, kind: str = "llama", steps: int = 400, seed: int = 1) -> str:
    """Make the whole base model in ``folder``, telling how it goes; returns its SHA-256."""
    torch.use_deterministic_algorithms(True)
    tokenizer = make_tokenizer(texts)
    model = initial_model(tokenizer, kind, seed=seed)
    print(f"{kind}: {sum(each.numel() for each in model.parameters()) / 1e6:.1f} million weights", flush=True)
    began = time.monotonic()
    for step, loss in enumerate(pretrain(model, tokenizer, texts, steps=steps, seed=seed), start=1):
        if step % 50 == 0 or step == 1:
            print(f"step {step:4} of {steps}, loss {loss:.2f}, {time.monotonic() - began:.0f} s", flush=True)
    return save(model, tokenizer, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", default="llama", choices=["llama", "gpt2", "qwen2", "mistral"])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if find() is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    texts = [text for text, _ in read()]
    print(f"sha256 {make(options.folder, texts, kind=options.kind, steps=options.steps, seed=options.seed)}")


if __name__ == "__main__":
    main()
