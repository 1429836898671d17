# SPDX-License-Identifier: Apache-2.0
"""The small base model of tests and benchmarks: the same each time, smaller loss with more steps, loads as one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from benchmarks.small_language_model import Size, initial_model, make_tokenizer, pretrain, save

pytestmark = pytest.mark.slow

TEXTS = ["the patient takes one tablet of aspirin at night"] * 8
SIZE = Size(hidden=32, layers=2, heads=2, inner=48, positions=64, vocabulary=280)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_same_seed_is_the_same_model(kind: str, tmp_path: Path) -> None:
    digests, losses = [], []
    for number, seed in enumerate((1, 1, 2)):
        tokenizer = make_tokenizer(TEXTS, SIZE)
        model = initial_model(tokenizer, kind, SIZE, seed)
        losses.append(list(pretrain(model, tokenizer, TEXTS, steps=6, length=16, seed=seed)))
        digests.append(save(model, tokenizer, tmp_path / str(number)))
    assert digests[0] == digests[1] != digests[2]
    assert losses[0][-1] < losses[0][0]
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "0")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "0")
    assert again.decode(again(TEXTS[0])["input_ids"]) == TEXTS[0]
    assert loaded.config.vocab_size == len(again) <= 280
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    with torch.inference_mode():
        assert loaded(torch.tensor([again("aspirin")["input_ids"]])).logits.isfinite().all()
