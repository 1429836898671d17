# SPDX-License-Identifier: Apache-2.0
"""The very small language model: the same bytes everywhere, and one that transformers, and a job's layout, can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load
from tokenizers import Tokenizer

from cloister.documents import load as load_document
from cloister.files import sha256_of
from cloister.jobs import Job, layout_of
from cloister.reference.language_model import SHA256, language_model_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    return language_model_files()


def test_its_digest_is_the_one_that_is_documented(files: Mapping[str, bytes]) -> None:
    assert sha256_of(files["model.safetensors"]) == SHA256
    assert language_model_files() == files


def test_its_weights_are_small_and_spread_about_nothing(files: Mapping[str, bytes]) -> None:
    for name, weight in load(files["model.safetensors"]).items():
        assert weight.dtype == np.float32
        if weight.ndim == 1:
            assert (weight == 1).all()
            continue
        assert np.abs(weight).max() <= 1 / 16, name
        assert abs(float(weight.mean())) < 0.002, name
        assert float(weight.std()) == pytest.approx(1 / 16 / 3**0.5, rel=0.02), name


@pytest.mark.parametrize("text", ["When may I eat?", "Größe: 5 µg — ☃", "a\nb\tc  d", ""])
def test_its_tokens_are_bytes_and_nothing_is_lost(files: Mapping[str, bytes], text: str) -> None:
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    tokens = tokenizer.encode(text)
    assert len(tokens.ids) == len(text.encode())
    assert tokenizer.decode(tokens.ids) == text
    assert tokenizer.get_vocab_size() == 257 == json.loads(files["config.json"])["vocab_size"]
    assert tokenizer.encode("a<|endoftext|>").ids[-1] == 0


def test_the_job_that_trains_it_exchanges_each_of_its_weights(files: Mapping[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    job = load_document(ROOT / "jobs" / "letter-answers.yaml", Job).value
    shapes = layout_of(job, base_model=tmp_path).shapes()
    assert shapes == {name: weight.shape for name, weight in load(files["model.safetensors"]).items()}
    assert 4 * sum(int(np.prod(shape)) for shape in shapes.values()) < 1_000_000  # bytes, a fourth of what may leave


@pytest.mark.slow
def test_transformers_loads_it_whole(files: Mapping[str, bytes], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    model, said = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert not said["mismatched_keys"]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|endoftext|>", 0)
    loss = model(
        **tokenizer("Hello", return_tensors="pt"), labels=tokenizer("Hello", return_tensors="pt").input_ids
    ).loss
    assert loss.item() == pytest.approx(np.log(257), abs=0.3)  # it knows nothing
