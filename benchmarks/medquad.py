# SPDX-License-Identifier: Apache-2.0
"""Answers on diseases at the three institutes that wrote them: a language model federated, pooled and alone.

Run it: .venv/bin/python benchmarks/medquad.py [--seeds 3] [--rounds 5] [--steps 8] [--method full] [--base FOLDER]

MedQuAD (Ben Abacha and Demner-Fushman, https://doi.org/10.1186/s12859-019-3119-4, CC BY 4.0): CDC 270, NIDDK 1192 and
NINDS 1088 questions with their answers, each institute's as JSON lines. The question is the prompt; of the answer is
learnt what `--tokens` leave room for. The base model is the small one of `small_language_model.py`, which has read
abstracts and no answers; it is made in `--base` where that folder does not hold one yet.

A record's person is the disease that it is about, so that one disease is on one side of each site's split. A fifth of
the diseases, another for each seed and the same at all institutes, is for the test alone; test answers that begin like
one to train on are left out. Runs in this process, see `in_process.py`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import small_language_model
from in_process import BEFORE, TOGETHER, Run, Site, job_of, study, table_of
from study_options import say, study_parser
from tests.medical_abstracts import find, read

from cloister.silos import Dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "medquad"
INSTITUTES = ("cdc", "niddk", "ninds")
METHODS: dict[str, dict[str, Any]] = {
    "full": {"full": {}},
    "lora": {"lora": {"rank": 8, "alpha": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}},
}
RATES = {"full": 0.001, "lora": 0.005}
TEST_SHARE = 0.2

Record = dict[str, str]


def main() -> None:
    parser = study_parser(__doc__, seeds=3, rounds=5, steps=8, batch=8, rate=None)
    parser.add_argument("--tokens", type=int, default=48, help="the most of a question and its answer")
    parser.add_argument("--method", choices=list(METHODS), default="full")
    parser.add_argument("--base", type=Path, help="folder with the base model, or where it is made")
    options = parser.parse_args()
    if not DATA.is_dir() or find() is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="medquad-") as name:
        root = Path(name)
        base = base_model(options.base or root / "base-model")
        job = job_of(_document(options, base))
        for seed in range(options.seeds):
            sites = _sites(root / str(seed), seed)
            runs += study(job, sites, root=root, seeds=[seed], base_model=base, ways=options.ways, say=say)
            before = runs[-1].tested[BEFORE][TOGETHER]
            say(f"seed {seed}, before training: perplexity {before['perplexity']:.3f}")
    for metric in ("perplexity", "token_accuracy"):
        print(f"\n{table_of(runs, metric)}")
    for institute in INSTITUTES:
        shown = ", ".join(f"{way} {_mean([run.tested[way][institute] for run in runs]):.1f}" for way in runs[0].tested)
        print(f"\nperplexity on the questions of {institute}: {shown}")


def base_model(folder: Path) -> Path:
    """The small language model in ``folder``, made there where it is missing."""
    if not (folder / "model.safetensors").is_file():
        small_language_model.make(folder, [text for text, _ in read()], steps=800)
    return folder


def _document(options: argparse.Namespace, base: Path) -> dict[str, Any]:
    digest = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    rate = options.rate or RATES[options.method]
    return {
        "job": "medquad",
        "purpose": "research",
        "task": "causal-language-modelling",
        "base_model": {"name": "small-language-model", "sha256": digest, "licence": "cc-by-sa-3.0"},
        "dataset": {"name": "questions", "prompt": "question", "completion": "answer", "validation_share": 0.1},
        "method": METHODS[options.method],
        "training": {
            "steps": options.steps,
            "batch_size": options.batch,
            "learning_rate": rate,
            "maximum_tokens": options.tokens,
        },
        "federation": {"rounds": options.rounds},
        "select_by": {"metric": "loss"},
    }


def _sites(folder: Path, seed: int) -> dict[str, Site]:
    folder.mkdir()
    records = {institute: _read(institute) for institute in INSTITUTES}
    diseases = sorted({record["focus"] for each in records.values() for record in each})
    held_out = set(random.Random(seed).sample(diseases, round(TEST_SHARE * len(diseases))))
    known = {_beginning(record) for each in records.values() for record in each if record["focus"] not in held_out}
    sites = {}
    for institute, each in records.items():
        training = [record for record in each if record["focus"] not in held_out]
        test = [record for record in each if record["focus"] in held_out and _beginning(record) not in known]
        say(f"seed {seed}, {institute}: {len(training)} questions to train on, {len(test)} to test on")
        sites[institute] = Site(
            _dataset(folder / f"{institute}.jsonl", training), _dataset(folder / f"{institute}-test.jsonl", test)
        )
    return sites


def _read(institute: str) -> list[Record]:
    with gzip.open(DATA / f"{institute}.jsonl.gz", "rt", encoding="utf-8") as stream:
        found = [json.loads(line) for line in stream]
    return [
        {
            "focus": " ".join(each["focus"].lower().split()) or each["question"],
            "question": each["question"],
            "answer": each["answer"],
        }
        for each in found
    ]


def _beginning(record: Record) -> str:
    return record["answer"][:100]


def _dataset(path: Path, records: Sequence[Record]) -> Dataset:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    document = {
        "connector": {"kind": "json-lines", "path": str(path)},
        "columns": {
            "focus": {"kind": "identifier"},
            "question": {"kind": "text", "maximum_characters": 500},
            "answer": {"kind": "text", "maximum_characters": 20_000},
        },
        "person": "focus",
    }
    return Dataset.model_validate_json(json.dumps(document))


def _mean(measured: Sequence[dict[str, float]]) -> float:
    return sum(each["perplexity"] for each in measured) / len(measured)


if __name__ == "__main__":
    main()
