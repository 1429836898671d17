# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.jobs import initial_adapter, layout_of
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.kept_tensors import exchanged_layout, first_kept, is_control, kept_layout
from cloister.training.text_classifier import TextClassifier
from tests.blobs import apart, difference, joined

from .conftest import setup_of, write_view
from .methods import job, small_model, started

pytestmark = pytest.mark.slow  # transformers and peft

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora": {"rank": 2, "alpha": 4, "targets": ["query"]}},
    "dora": {"lora": {"rank": 2, "alpha": 4, "targets": ["query"], "dora": True}},
    "ia3": {"ia3": {"targets": ["query"]}},
    "prompt": {"prompt": {"tokens": 3}},
    "prefix": {"prefix": {"tokens": 3}},
    "bitfit": {"bitfit": {}},
    "full": {"full": {}},
}


@pytest.fixture(scope="module")
def model(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model("bert", base_model, tmp_path_factory.mktemp("models") / "bert")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_trained_parameter_is_behind_a_tensor(method: dict[str, Any], model: Path, tmp_path: Path) -> None:
    """So a client rule reaches all that is trained, and knows what it is called."""
    trainer, layout, _ = started(job("text-classification", method), model, tmp_path / "view")
    found = trainer._exchange.parameters()
    assert set(found) == set(layout.shapes())
    assert {name: tuple(each.shape) for name, each in found.items()} == layout.shapes()
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    assert {id(each) for each in found.values()} == {id(each) for each in trained}


PERSONAL: dict[str, tuple[str, str]] = {
    "FedPer": ("lora", "classifier"),
    "FedBN": ("full", "LayerNorm"),
    "one factor": ("lora", "lora_B"),
}


@pytest.mark.parametrize(("method", "layer"), PERSONAL.values(), ids=PERSONAL)
@pytest.mark.parametrize("client", [None, {"scaffold": {}}])
def test_personal_layers_of_a_base_model(
    method: str, layer: str, client: dict[str, Any] | None, model: Path, tmp_path: Path
) -> None:
    the_job = job("text-classification", METHODS[method])
    whole = layout_of(the_job, base_model=model)
    aggregation = Aggregation.model_validate({"personal": (layer,), "client": client})
    exchanged, kept = exchanged_layout(aggregation, whole), kept_layout(aggregation, whole)
    view = write_view(tmp_path / "view", train=24, validation=8)
    update = {"client": aggregation.client, "shapes": exchanged.shapes(), "kept": kept.shapes()}
    trainer = TextClassifier(setup_of(the_job, whole, view, model).model_copy(update=update))
    shared, own = initial_adapter(exchanged, 1), first_kept(aggregation, whole, 1)
    trainer.load_adapter(joined(shared, own))
    untouched = safetensors.numpy.load(trainer.adapter())
    assert all(np.array_equal(untouched[name], each) for name, each in shared.items())
    assert all(np.array_equal(untouched[f"kept.{name}"], each) for name, each in own.items())
    trainer.train(1, lambda _step, _steps: None)
    found = apart(trainer.adapter(), exchanged, kept)
    assert not [name for name in found.exchanged if f".{layer}." in f".{name}."]
    # What no record of a few has touched, such as an embedding's rows, is not looked at.
    changed = difference(found.exchanged, shared)
    assert all(each.any() for each in changed.values())
    assert all(not np.array_equal(each, own[name]) for name, each in found.kept.items())
    for name in filter(is_control, found.exchanged):
        assert np.array_equal(found.exchanged[name], found.kept[name.replace("control.", "control_own.", 1)])
