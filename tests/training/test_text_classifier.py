# SPDX-License-Identifier: Apache-2.0
"""Every test loads the real base model, in this process and without a sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import AdapterLayout, Job, adapter_config, initial_adapter, layout_of
from cloister.messages import Setup
from cloister.training.text_classifier import TextClassifier

from .conftest import LABELS, job, setup_of, write_view

pytestmark = [
    pytest.mark.slow,
    # peft asks transformers by a name that transformers is about to drop
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

Make = Callable[..., TextClassifier]


def quietly(_step: int, _steps: int) -> None:
    pass


@pytest.fixture
def classifier(base_model: Path, layout: AdapterLayout, tmp_path: Path) -> Make:
    def make(
        the_job: Job | None = None, *, train: int = 60, validation: int = 40, labels: tuple[str, ...] = LABELS
    ) -> TextClassifier:
        view = write_view(tmp_path / "view", train=train, validation=validation, labels=labels)
        made = TextClassifier(setup_of(the_job or job(), layout, view, base_model))
        made.load_adapter(safetensors.numpy.save(initial_adapter(layout, 0)))
        return made

    return make


def test_learns(classifier: Make) -> None:
    one = classifier(job(steps=24))
    before = one.evaluate()
    first = one.train(0, quietly)
    after = one.evaluate()
    assert after["loss"] < before["loss"] / 2
    assert after["accuracy"] > 0.9 > before["accuracy"]
    assert 0 < first.loss < before["loss"]
    assert set(after) == {"accuracy", "macro_f1", "loss"}


def test_first_loss_is_that_of_guessing(classifier: Make) -> None:
    # The head starts near zero, so every class is about equally likely: ln 3 = 1.0986.
    assert classifier().evaluate()["loss"] == pytest.approx(np.log(3), abs=0.1)


def test_adapter_is_exactly_the_declared_one(classifier: Make, layout: AdapterLayout) -> None:
    one = classifier()
    start = initial_adapter(layout, 0)
    assert {name: value.tolist() for name, value in safetensors.numpy.load(one.adapter()).items()} == {
        name: value.tolist() for name, value in start.items()
    }
    one.train(0, quietly)
    trained = safetensors.numpy.load(one.adapter())
    assert {name: value.shape for name, value in trained.items()} == layout.shapes()
    assert {value.dtype.name for value in trained.values()} == {"float32"}
    # A learns too: B is no longer zero after the first step. Nothing is left as it was.
    assert not [name for name, value in trained.items() if np.array_equal(value, start[name])]


def test_same_seed_same_bytes_and_another_round_another_order(classifier: Make, layout: AdapterLayout) -> None:
    blob = safetensors.numpy.save(initial_adapter(layout, 0))
    one, results = classifier(job(steps=4)), []
    for number in (0, 0, 1):
        one.load_adapter(blob)
        one.train(number, quietly)
        results.append(one.adapter())
    other = classifier(job(steps=4))
    other.train(0, quietly)
    assert results[0] == results[1] == other.adapter()
    assert results[0] != results[2]


def test_base_model_does_not_change(classifier: Make) -> None:
    one = classifier()
    frozen = {name: p.clone() for name, p in one.model.named_parameters() if not p.requires_grad}
    one.train(0, quietly)
    after = dict(one.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert sum(value.numel() for value in frozen.values()) > 22_000_000
    # Nothing below the lowest adapter is differentiated.
    assert not any(p.requires_grad for name, p in after.items() if "embeddings" in name)


def test_head_has_its_own_rate_and_biases_do_not_decay(classifier: Make) -> None:
    one = classifier(job(head_learning_rate=0.5, learning_rate=0.001, weight_decay=0.1))
    groups = {(group.learning_rate, group.weight_decay): len(group.parameters) for group in one._parameter_groups(1)}
    assert groups == {(0.001, 0.1): 24, (0.5, 0.1): 1, (0.5, 0.0): 1}


@pytest.mark.parametrize(
    ("plan", "train", "steps", "used"),
    [
        ({"steps": 3}, 60, 3, 24),
        ({"steps": 9}, 20, 9, 20),
        ({"steps": None, "epochs": 2}, 20, 6, 20),
        ({"steps": 1}, 3, 1, 3),
    ],
)
def test_counts_steps_and_different_records(
    classifier: Make, plan: dict[str, int | None], train: int, steps: int, used: int
) -> None:
    told: list[tuple[int, int]] = []
    done = classifier(job(**plan), train=train, validation=3).train(0, lambda step, of: told.append((step, of)))
    assert told == [(step, steps) for step in range(1, steps + 1)]
    assert done.records == used


def test_a_site_with_one_class_trains(classifier: Make) -> None:
    one = classifier(job(steps=4), labels=("loans",))
    done = one.train(0, quietly)
    metrics = one.evaluate()
    assert np.isfinite(done.loss)
    assert 0 <= metrics["macro_f1"] <= 1


def test_no_validation_records_no_metrics(classifier: Make) -> None:
    one = classifier(job(steps=2), validation=0)
    assert one.evaluate() == {}
    one.train(0, quietly)


def test_no_training_records_is_refused(classifier: Make) -> None:
    with pytest.raises(RecordsError, match="no training records"):
        classifier(train=0)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype", "garbage"])
def test_refuses_another_adapter(classifier: Make, layout: AdapterLayout, change: str) -> None:
    arrays = dict(initial_adapter(layout, 0))
    name = next(iter(arrays))
    if change == "missing":
        del arrays[name]
    elif change == "extra":
        arrays["base_model.model.bert.embeddings.word_embeddings.weight"] = arrays[name]
    elif change == "shape":
        arrays[name] = arrays[name][:1]
    elif change == "dtype":
        arrays[name] = arrays[name].astype(np.float16)  # type: ignore[assignment]
    blob = b"no adapter" if change == "garbage" else safetensors.numpy.save(arrays)
    one = classifier()
    with pytest.raises(TrainerError):
        one.load_adapter(blob)


def test_refuses_a_layout_that_is_not_its_own(base_model: Path, layout: AdapterLayout, tmp_path: Path) -> None:
    setup = setup_of(job(), layout, write_view(tmp_path, train=3, validation=3), base_model)
    shapes = {name: shape for name, shape in setup.shapes.items() if "layer.5" not in name}
    with pytest.raises(TrainerError, match="not those of the job"):
        TextClassifier(setup.model_copy(update={"shapes": shapes}))


def test_refuses_a_base_model_that_lacks_weights(base_model: Path, layout: AdapterLayout, tmp_path: Path) -> None:
    crippled = tmp_path / "model"
    crippled.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (crippled / name).write_bytes((base_model / name).read_bytes())
    tensors = safetensors.torch.load_file(base_model / "model.safetensors")
    del tensors["pooler.dense.weight"]
    safetensors.torch.save_file(tensors, crippled / "model.safetensors")
    view = write_view(tmp_path / "view", train=3, validation=3)
    with pytest.raises(TrainerError, match=r"lacks 1 of its weights, such as `bert\.pooler\.dense\.weight`"):
        TextClassifier(setup_of(job(), layout, view, crippled))


@pytest.mark.parametrize("full", [False, True])
def test_the_head_of_a_published_classifier_is_left_out(
    full: bool, base_model: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    import transformers

    document = json.loads(job(steps=1).model_dump_json(exclude_none=True))
    document["method"] = {"full": {}} if full else document["method"]
    the_job, blobs = Job.model_validate_json(json.dumps(document)), []
    for classes in (None, 3, 5):
        folder = tiny_bert
        if classes:
            folder = tmp_path / f"{classes}"
            classifier = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=classes)
            classifier.save_pretrained(folder)
            for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
                (folder / name).write_bytes((base_model / name).read_bytes())
        declared = layout_of(the_job, base_model=folder)
        view = write_view(tmp_path / "view", train=9, validation=5)
        one = TextClassifier(setup_of(the_job, declared, view, folder))
        one.load_adapter(safetensors.numpy.save(initial_adapter(declared, 1)))
        one.train(1, quietly)
        blobs.append(one.adapter())
    assert blobs[0] == blobs[1] == blobs[2]


def test_an_embedding_of_another_size_is_no_head(base_model: Path, tiny_bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_bert.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 32}))
    declared = layout_of(job(), base_model=folder)
    with pytest.raises(TrainerError, match=r"lacks 1 of its weights, such as `bert\.embeddings\.position"):
        TextClassifier(setup_of(job(), declared, write_view(tmp_path / "view", train=3, validation=3), folder))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_agrees_with_the_declared_layout_of_other_architectures(kind: str, base_model: Path, tmp_path: Path) -> None:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = transformers.AutoConfig.for_model(kind, vocab_size=30522, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    # Published checkpoints are encoders without a classifier's head.
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / "model" / name).write_bytes((base_model / name).read_bytes())
    document = json.loads(job(steps=2).model_dump_json())
    targets = ["q_lin", "v_lin"] if kind == "distilbert" else ["query", "value"]
    document["method"]["lora"]["targets"] = targets
    the_job = Job.model_validate_json(json.dumps(document))
    declared = layout_of(the_job, base_model=tmp_path / "model")
    setup: Setup = setup_of(the_job, declared, write_view(tmp_path / "view", train=9, validation=5), tmp_path / "model")
    one = TextClassifier(setup)
    one.load_adapter(safetensors.numpy.save(initial_adapter(declared, 1)))
    one.train(0, quietly)
    assert {name: value.shape for name, value in safetensors.numpy.load(one.adapter()).items()} == declared.shapes()


def test_result_loads_with_peft_alone(
    classifier: Make, layout: AdapterLayout, base_model: Path, tmp_path: Path
) -> None:
    import peft
    import transformers

    one = classifier(job(steps=8))
    one.train(0, quietly)
    expected = one.evaluate()
    result = tmp_path / "result"
    result.mkdir()
    (result / "adapter_model.safetensors").write_bytes(one.adapter())
    (result / "adapter_config.json").write_text(json.dumps(adapter_config(job(), layout)))
    base = transformers.AutoModelForSequenceClassification.from_pretrained(base_model, num_labels=len(LABELS))
    one.model = peft.PeftModel.from_pretrained(base, result).to(one.device)
    assert one.evaluate() == expected
