# SPDX-License-Identifier: Apache-2.0
"""Small base models of every kind, trained in a way that a test names, and read back by peft alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from benchmarks.small_language_model import Size, initial_model, make_tokenizer, save

from cloister.jobs import AdapterLayout, Job, adapter_config, finished_adapter, initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.silos import ColumnKind
from cloister.training.tasks import trainer_for
from cloister.training.transformer import TransformerTrainer

from .conftest import LABELS, setup_of
from .conftest import write_view as write_texts
from .test_causal_language_model import write_view as write_talk
from .test_token_classifier import write_view as write_spans

_TINY = Size(hidden=32, layers=2, heads=2, inner=48, positions=64, vocabulary=300)
_COLUMNS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": "note", "label": "ward", "labels": LABELS},
    "token-classification": {"text": "note", "entities": "drugs", "labels": ["drug", "dose"]},
    "causal-language-modelling": {"prompt": "question", "completion": "answer"},
}
_KINDS = {
    "text-classification": {"note": ColumnKind.TEXT, "ward": ColumnKind.CATEGORY},
    "token-classification": {"note": ColumnKind.TEXT, "drugs": ColumnKind.SPANS},
    "causal-language-modelling": {"question": ColumnKind.TEXT, "answer": ColumnKind.TEXT},
}
TARGETS = {
    "distilbert": ("q_lin", "lin2"),
    "gpt2": ("c_attn", "mlp.c_proj"),
    **dict.fromkeys(("bert", "roberta"), ("query", "output.dense")),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), ("q_proj", "down_proj")),
}
"""Of each kind of base model a layer of its attention, and the last of its feed-forward ones."""


def small_model(kind: str, minilm: Path, folder: Path) -> Path:
    """A base model of random weights in ``folder``, made once; encoders get the tokenizer of ``minilm``."""
    if folder.is_dir():
        return folder
    import transformers

    torch.manual_seed(0)
    if kind not in ("bert", "roberta", "distilbert"):
        words = make_tokenizer(["aspirin? one tablet", "digoxin? half a tablet", "warfarin? as the clinic says"], _TINY)
        model = initial_model(words, kind, _TINY)
        save(_wider(model), words, folder)
        return folder
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = transformers.AutoConfig.for_model(kind, vocab_size=30522, pad_token_id=0, **sizes)
    _wider(transformers.AutoModel.from_config(config)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).write_bytes((minilm / name).read_bytes())
    return folder


def _wider(model: Any) -> Any:
    """``model`` with larger weights than are usual: of such a small one nothing could be adapted otherwise."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5 if weight.ndim > 1 else 1)
    return model


def job(task: str, method: dict[str, Any], **training: Any) -> Job:
    document = {
        "job": "triage",
        "purpose": "research",
        "task": task,
        "base_model": {"name": "tiny", "sha256": "0" * 64, "licence": "apache-2.0"},
        "dataset": {"name": "notes", **_COLUMNS[task]},
        "method": method,
        "training": {"steps": 4, "batch_size": 8, "learning_rate": 1e-2, "maximum_tokens": 32, "seed": 5, **training},
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


def started(
    the_job: Job, model: Path, view: Path, rank: int | None = None
) -> tuple[TransformerTrainer, AdapterLayout, Arrays]:
    """The real trainer with the first weights, the tensors that the site expects, and those weights."""
    writers: dict[str, Callable[..., Path]] = {
        "text-classification": write_texts,
        "token-classification": write_spans,
        "causal-language-modelling": write_talk,
    }
    writers[the_job.task.value](view, train=24, validation=12)
    layout = layout_of(the_job, base_model=model, rank=rank)
    trainer = trainer_for(setup_of(the_job, layout, view, model, **_KINDS[the_job.task.value]))
    assert isinstance(trainer, TransformerTrainer)
    first = initial_adapter(layout, the_job.seed)
    trainer.load_adapter(safetensors.numpy.save(first))
    return trainer, layout, first


def train(trainer: TransformerTrainer, layout: AdapterLayout, first: Arrays) -> Arrays:
    """One round; what leaves must be the layout's tensors, all of them changed."""
    learnt = trainer._exchange.parameters()
    assert {name: tuple(each.shape) for name, each in learnt.items()} == layout.shapes()
    trained = {id(each) for each in trainer.model.parameters() if each.requires_grad}
    assert {id(each) for each in learnt.values()} == trained
    before = {name: value.clone() for name, value in trainer.model.named_parameters() if not value.requires_grad}
    untouched = safetensors.numpy.load(trainer.adapter())
    assert {name: array.tolist() for name, array in untouched.items()} == {
        name: array.tolist() for name, array in first.items()
    }
    trainer.train(1, lambda _step, _steps: None)
    update: Arrays = safetensors.numpy.load(trainer.adapter())
    assert {name: array.shape for name, array in update.items()} == layout.shapes()
    assert {array.dtype.name for array in update.values()} == {"float32"}
    assert not [name for name, array in update.items() if np.array_equal(array, first[name])]
    assert not [
        name for name, value in trainer.model.named_parameters() if name in before and not before[name].equal(value)
    ]
    return update


def peft_agrees(trainer: TransformerTrainer, the_job: Job, layout: AdapterLayout, update: Arrays, result: Path) -> None:
    """Write what the server would, and let peft and transformers load it: it must measure as the trainer did."""
    import peft
    import transformers

    measured = trainer.evaluate()
    result.mkdir()
    (result / "adapter_config.json").write_text(json.dumps(adapter_config(the_job, layout)))
    safetensors.numpy.save_file(finished_adapter(layout, update), result / "adapter_model.safetensors")
    maker = {
        "text-classification": transformers.AutoModelForSequenceClassification,
        "token-classification": transformers.AutoModelForTokenClassification,
        "causal-language-modelling": transformers.AutoModelForCausalLM,
    }[the_job.task.value]
    rows = {"text-classification": len(LABELS), "token-classification": 5}.get(the_job.task.value)
    heads = {} if rows is None else {"num_labels": rows}
    base = maker.from_pretrained(trainer.setup.base_model, local_files_only=True, **heads)
    trainer.model = peft.PeftModel.from_pretrained(base, str(result)).to(trainer.device)
    assert trainer.evaluate() == pytest.approx(measured, rel=1e-5, abs=1e-6)
