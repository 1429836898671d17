# SPDX-License-Identifier: Apache-2.0
"""Token classifiers without a sandbox: the real MiniLM with factors, a small BERT with every weight."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Job, initial_adapter, layout_of
from cloister.silos import ColumnKind
from cloister.training.tasks import trainer_for
from cloister.training.token_classifier import TokenClassifier

from .conftest import forget_precision, setup_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

LABELS = ("drug", "dose")
_DRUGS = ("aspirin", "ibuprofen", "insulin", "metoprolol succinate")
_DOSES = ("5 mg", "two tablets", "100 units")


def quietly(_step: int, _steps: int) -> None:
    pass


def job(*, full: bool = False, **training: object) -> Job:
    plan = {"steps": 24, "batch_size": 8, "learning_rate": 5e-3, "maximum_tokens": 32, "seed": 5, **training}
    lora = {"rank": 4, "alpha": 8, "targets": ["query", "value"]}
    document = {
        "job": "drugs",
        "purpose": "research",
        "task": "token-classification",
        "base_model": {"name": "m", "sha256": "0" * 64, "licence": "apache-2.0"},
        "dataset": {"name": "notes", "text": "note", "entities": "drugs", "labels": LABELS},
        "method": {"full": {}} if full else {"lora": lora},
        "training": plan,
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


def note(randomly: random.Random) -> tuple[str, str]:
    text, spans = "", []
    for label, words in (("", ("give", "stop the")), ("drug", _DRUGS), ("dose", _DOSES), ("", ("at night", "now"))):
        text += " " if text else ""
        chosen = randomly.choice(words)
        if label:
            spans.append({"start": len(text), "end": len(text) + len(chosen), "label": label})
        text += chosen
    return text, json.dumps(spans)


def write_view(folder: Path, *, train: int = 60, validation: int = 30) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    randomly = random.Random(3)
    for name, count in (("train", train), ("validation", validation)):
        notes = [note(randomly) for _ in range(count)]
        columns = {"note": [text for text, _ in notes], "drugs": [cell for _, cell in notes]}
        pyarrow.parquet.write_table(
            pa.table({key: pa.array(cells, pa.string()) for key, cells in columns.items()}), folder / f"{name}.parquet"
        )
    return folder


def make(the_job: Job, base_model: Path, view: Path) -> TokenClassifier:
    layout = layout_of(the_job, base_model=base_model)
    columns = {"note": ColumnKind.TEXT, "drugs": ColumnKind.SPANS}
    made = trainer_for(setup_of(the_job, layout, view, base_model, **columns))
    assert isinstance(made, TokenClassifier)
    made.load_adapter(safetensors.numpy.save(initial_adapter(layout, the_job.seed)))
    return made


def test_learns_with_factors(base_model: Path, tmp_path: Path) -> None:
    one = make(job(), base_model, write_view(tmp_path / "view"))
    before = one.evaluate()
    assert before["loss"] == pytest.approx(np.log(5), abs=0.2)  # five tags, about equally likely
    one.train(1, quietly)
    after = one.evaluate()
    assert set(after) == {"entity_f1", "token_accuracy", "loss"}
    assert before["entity_f1"] < 0.3
    assert after["entity_f1"] > 0.9
    assert after["token_accuracy"] > 0.95
    assert after["loss"] < before["loss"] / 4


def test_learns_with_every_weight(tiny_bert: Path, tmp_path: Path) -> None:
    one = make(job(full=True, steps=60, learning_rate=1e-2), tiny_bert, write_view(tmp_path / "view"))
    one.train(1, quietly)
    assert one.evaluate()["entity_f1"] > 0.9


@pytest.mark.parametrize("full", [False, True])
def test_the_same_each_time_and_after_a_restart(full: bool, tiny_bert: Path, tmp_path: Path) -> None:
    view = write_view(tmp_path / "view")
    one = make(job(full=full, steps=4), tiny_bert, view)
    one.train(1, quietly)
    between = one.adapter()
    one.load_adapter(between)
    done = one.train(2, quietly)
    again = make(job(full=full, steps=4), tiny_bert, view)
    again.load_adapter(between)
    assert again.train(2, quietly) == done
    assert again.adapter() == one.adapter() != between


@pytest.mark.parametrize("full", [False, True])
def test_what_is_exchanged_is_exactly_the_declared(full: bool, tiny_bert: Path, tmp_path: Path) -> None:
    the_job = job(full=full, steps=2)
    layout = layout_of(the_job, base_model=tiny_bert)
    one = make(the_job, tiny_bert, write_view(tmp_path / "view"))
    start = initial_adapter(layout, the_job.seed)
    assert all(np.array_equal(value, start[name]) for name, value in safetensors.numpy.load(one.adapter()).items())
    one.train(1, quietly)
    trained = safetensors.numpy.load(one.adapter())
    assert {name: value.shape for name, value in trained.items()} == layout.shapes()
    assert not [name for name, value in trained.items() if np.array_equal(value, start[name])]


def test_a_difference_is_added_to_the_base_models_weights(tiny_bert: Path, tmp_path: Path) -> None:
    the_job = job(full=True, steps=2)
    one = make(the_job, tiny_bert, write_view(tmp_path / "view"))
    base = safetensors.numpy.load_file(tiny_bert / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    tensors = initial_adapter(layout_of(the_job, base_model=tiny_bert), 0)
    # Far too small for the sum to keep them whole, and yet they come back whole.
    tensors[f"bert.{name}"] += np.float32(1e-9) * np.arange(1, tensors[f"bert.{name}"].size + 1).reshape(
        base[name].shape
    )
    one.load_adapter(safetensors.numpy.save(tensors))
    weights = dict(one.model.named_parameters())
    assert np.array_equal(weights[f"bert.{name}"].numpy(force=True), base[name] + tensors[f"bert.{name}"])
    assert np.array_equal(weights["classifier.weight"].numpy(force=True), tensors["classifier.weight"])
    assert np.array_equal(safetensors.numpy.load(one.adapter())[f"bert.{name}"], tensors[f"bert.{name}"])
    other = make(the_job, tiny_bert, tmp_path / "view")
    other.load_adapter(safetensors.numpy.save(tensors))
    assert other.evaluate() == one.evaluate()


def test_a_text_that_is_cut_loses_its_pieces(tiny_bert: Path, tmp_path: Path) -> None:
    view = write_view(tmp_path / "view", validation=1)
    filler = "the patient slept well and " * 8
    text = f"{filler}aspirin"
    span = {"start": len(filler), "end": len(text), "label": "drug"}
    table = pa.table({"note": [text], "drugs": [json.dumps([span])]})
    pyarrow.parquet.write_table(table, view / "validation.parquet")
    one = make(job(), tiny_bert, view)
    tensors = initial_adapter(layout_of(job(), base_model=tiny_bert), 0)
    tensors["base_model.model.classifier.bias"][0] = 100  # finds nothing, ever
    one.load_adapter(safetensors.numpy.save(tensors))
    # Each tag that is left is right, and yet the drug behind the cut counts as missed.
    assert one.evaluate()["token_accuracy"] == 1.0
    assert one.evaluate()["entity_f1"] == 0.0


def test_empty_texts_teach_nothing_and_break_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    view = write_view(tmp_path / "view")
    nothing = pa.table({"note": [""] * 3, "drugs": ["[]"] * 3})
    for name in ("train", "validation"):
        pyarrow.parquet.write_table(nothing, view / f"{name}.parquet")
    one = make(job(steps=2), tiny_bert, view)
    assert one.train(1, quietly).loss == 0.0
    assert one.evaluate() == {}


def test_bfloat16_learns_and_gives_float32(tiny_bert: Path, tmp_path: Path) -> None:
    view = write_view(tmp_path / "view")
    results = {}
    for precision in ("float32", "bfloat16"):
        forget_precision()
        one = make(job(full=True, steps=8, precision=precision), tiny_bert, view)
        before = one.evaluate()["loss"]
        one.train(1, quietly)
        assert one.evaluate()["loss"] < before
        results[precision] = safetensors.numpy.load(one.adapter())
        assert {value.dtype.name for value in results[precision].values()} == {"float32"}
    assert any(not np.array_equal(value, results["bfloat16"][name]) for name, value in results["float32"].items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_float16_without_a_gpu_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="float16, and a trainer sees no GPU here") as caught:
        make(job(precision="float16"), tiny_bert, write_view(tmp_path / "view"))
    assert "bfloat16" in caught.value.hint


def test_a_bad_row_ends_it_without_its_content(tiny_bert: Path, tmp_path: Path) -> None:
    view = write_view(tmp_path / "view")
    table = pa.table({"note": ["Jane takes aspirin"], "drugs": ['[{"start": 11, "end": 99, "label": "drug"}]']})
    pyarrow.parquet.write_table(table, view / "validation.parquet")
    with pytest.raises(
        RecordsError, match=r"row 1 of the view's `validation\.parquet`: column `drugs` marks"
    ) as caught:
        make(job(), tiny_bert, view)
    assert "Jane" not in str(caught.value)


def test_its_own_loss_is_used(tiny_bert: Path, tmp_path: Path) -> None:
    class Twice(TokenClassifier):
        def loss(self, logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
            seen.append((logits.shape[1], int(tags.min()), int(tags.max())))
            return 2 * super().loss(logits, tags)

    seen: list[tuple[int, int, int]] = []
    the_job, view = job(steps=1), write_view(tmp_path / "view")
    columns: dict[str, Any] = {"note": ColumnKind.TEXT, "drugs": ColumnKind.SPANS}
    layout = layout_of(the_job, base_model=tiny_bert)
    start = safetensors.numpy.save(initial_adapter(layout, 1))
    losses = []
    for kind in (TokenClassifier, Twice):
        one = kind(setup_of(the_job, layout, view, tiny_bert, **columns))
        one.load_adapter(start)
        losses.append(one.train(1, quietly).loss)
    assert losses[1] == pytest.approx(2 * losses[0])
    assert seen == [(5, 0, 4)]
