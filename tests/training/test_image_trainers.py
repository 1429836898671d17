# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Job, adapter_config
from tests.training.pictures import (
    CLASSIFIER,
    DECLARED,
    SEGMENTER,
    UNET,
    VIT,
    first_weights,
    job_of,
    layout,
    setup_of,
    write_bundle,
    write_view,
)

pytestmark = pytest.mark.slow  # MONAI takes seconds to import

LORA = {"lora": {"rank": 2, "alpha": 4, "targets": ["qkv", "linear1"]}}
ON_VIT = job_of("image-classification", {}, (16, 16), method=LORA, learning_rate=0.02)
WHOLE_VIT = job_of("image-classification", {}, (16, 16))
ON_UNET = job_of("image-segmentation", {}, (12, 12, 12))


def started(job: Job, view: Path, base_model: Path | None = None, weights: bytes | None = None) -> Any:
    from cloister.training.tasks import trainer_for

    trainer = trainer_for(setup_of(job, view, base_model))
    trainer.load_adapter(first_weights(job, base_model) if weights is None else weights)
    return trainer


def silent(step: int, steps: int) -> None:
    pass


@pytest.mark.parametrize("name", DECLARED)
def test_learns_from_the_servers_weights_and_the_same_each_time(tmp_path: Path, name: str) -> None:
    job = DECLARED[name]
    view = write_view(tmp_path, job, 12, 6)
    trainer = started(job, view)
    assert trainer.adapter() == first_weights(job)
    before = trainer.evaluate()
    assert set(before) == set(job.form.metrics)
    first = trainer.train(1, silent)
    assert first.records == 12
    assert trainer.evaluate()["loss"] < before["loss"]
    received = trainer.adapter()
    second = trainer.train(2, silent)
    assert second.loss < first.loss
    again = started(job, view, weights=received)  # a trainer that was started anew between rounds
    assert again.train(2, silent) == second
    assert again.adapter() == trainer.adapter()


def test_finds_the_shadow(tmp_path: Path) -> None:
    trainer = started(CLASSIFIER, write_view(tmp_path, CLASSIFIER, 24, 12))
    for number in range(1, 4):
        trainer.train(number, silent)
    measured = trainer.evaluate()
    assert measured["accuracy"] == measured["macro_f1"] == measured["auc"] == 1.0


def test_finds_the_ball(tmp_path: Path) -> None:
    trainer = started(SEGMENTER, write_view(tmp_path, SEGMENTER, 12, 4))
    assert trainer.evaluate()["dice"] < 0.5
    for number in range(1, 4):
        trainer.train(number, silent)
    assert trainer.evaluate()["dice"] > 0.85


def test_dice_is_the_mean_over_classes_that_a_mask_has(tmp_path: Path) -> None:
    import torch

    job = job_of("image-segmentation", {"unet": {"channels": [4, 8], "strides": [2]}}, (12, 12, 12))
    trainer = started(job, write_view(tmp_path, job, 2, 1))
    truth = torch.zeros((2, 1, 2, 2, 2), dtype=torch.int64)
    truth[0, 0, 0] = 1  # four voxels; the second mask has none
    said = torch.zeros((2, 2, 2, 2, 2))
    said[:, 1, 0, 0] = 1  # two of them, in both
    compared = trainer.compare(said, truth)
    assert compared[0, 0] == pytest.approx(2 * 2 / (4 + 2))
    assert compared[1, 0].isnan()
    assert trainer.measure(compared) == {"dice": pytest.approx(2 / 3)}
    assert trainer.measure(compared[1:]) == {"dice": None}


def test_every_weight_of_a_bundle_as_differences(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", VIT)
    view = write_view(tmp_path / "view", WHOLE_VIT, 12, 6)
    trainer = started(WHOLE_VIT, view, bundle)
    assert {tensor.start for tensor in layout(WHOLE_VIT, bundle).tensors} == {"zeros"}
    assert not any(value.any() for value in safetensors.numpy.load(trainer.adapter()).values())
    before = trainer.evaluate()
    trainer.train(1, silent)
    assert trainer.evaluate()["loss"] < before["loss"]
    again = started(WHOLE_VIT, view, bundle, weights=trainer.adapter())
    assert again.evaluate()["loss"] == pytest.approx(trainer.evaluate()["loss"], rel=1e-5)


def test_statistics_of_batches_stay_as_the_bundle_has_them(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", UNET)
    stored = safetensors.numpy.load((bundle / "models" / "model.safetensors").read_bytes())
    kept = [name for name in stored if name.endswith(("running_mean", "running_var"))]
    assert kept
    assert not set(kept) & set(layout(ON_UNET, bundle).shapes())
    trainer = started(ON_UNET, write_view(tmp_path / "view", ON_UNET, 8, 2), bundle)
    trainer.train(1, silent)
    buffers = dict(trainer.model.named_buffers())
    assert all(np.array_equal(buffers[name].numpy(force=True), stored[name]) for name in kept)


def test_low_rank_factors_that_peft_reads_back(tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    from cloister.training.bundle import bundled_network
    from cloister.training.networks import scores

    bundle = write_bundle(tmp_path / "bundle", VIT)
    trainer = started(ON_VIT, write_view(tmp_path / "view", ON_VIT, 16, 8), bundle)
    found = layout(ON_VIT, bundle)
    assert found.parts == ("adapter",) == ON_VIT.parts
    assert {tensor.start for tensor in found.tensors} == {"uniform", "zeros"}
    before = trainer.evaluate()["loss"]
    for number in (1, 2):
        trainer.train(number, silent)
    assert trainer.evaluate()["loss"] < before
    result = tmp_path / "result"
    result.mkdir()
    (result / "adapter_config.json").write_text(json.dumps(adapter_config(ON_VIT, found)))
    (result / "adapter_model.safetensors").write_bytes(trainer.adapter())
    loaded = PeftModel.from_pretrained(bundled_network(bundle), str(result)).eval().to(trainer.device)
    images, _ = trainer.validation.batch(np.arange(8), trainer.device)
    trainer.model.eval()
    with torch.inference_mode():
        said, bare = scores(loaded, images), scores(bundled_network(bundle).eval().to(trainer.device), images)
        assert said.equal(scores(trainer.model, images))
    assert not said.allclose(bare)


def test_biases_alone_leave_as_differences(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", VIT)
    job = job_of("image-classification", {}, (16, 16), method={"bitfit": {}}, learning_rate=0.02)
    found = layout(job, bundle)
    assert {name.rpartition(".")[2] for name in found.shapes()} == {"bias"}
    assert found.parts == job.parts == ("model",)
    assert set(found.shapes()) < set(layout(WHOLE_VIT, bundle).shapes())
    trainer = started(job, write_view(tmp_path / "view", job, 16, 8), bundle)
    before, first = trainer.evaluate()["loss"], safetensors.numpy.load(trainer.adapter())
    assert not any(array.any() for array in first.values())
    for number in (1, 2):
        trainer.train(number, silent)
    assert trainer.evaluate()["loss"] < before
    update = safetensors.numpy.load(trainer.adapter())
    assert {name: array.shape for name, array in update.items()} == found.shapes()


def test_refuses_a_bundle_without_biases(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", {**UNET, "bias": False, "norm": "instance"})
    job = job_of("image-segmentation", {}, (12, 12, 12), method={"bitfit": {}})
    with pytest.raises(TrainerError, match="the base model has no biases that `bitfit` could train"):
        layout(job, bundle)


def test_refuses_targets_that_are_no_linear_layers(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", VIT)
    for target in ("query", "norm1", "patch_embeddings"):
        job = job_of(
            "image-classification", {}, (16, 16), method={"lora": {"rank": 2, "alpha": 4, "targets": [target]}}
        )
        with pytest.raises(TrainerError, match=f"no linear layer `{target}`.*`qkv`"):
            layout(job, bundle)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (job_of("image-segmentation", {"unet": {"strides": [2, 2]}}, (13, 12, 12)), "images of 13 × 12 × 12"),
        (job_of("image-segmentation", {"unet": {}}, (12, 12)), "3 dimensions"),
        (job_of("image-segmentation", {"unetr": {"width": 10, "heads": 3}}, (16, 16, 16)), "builds no such"),
        (job_of("image-classification", {"densenet": {"blocks": [1] * 6}}, (8, 8)), "images of 8 × 8"),
    ],
)
def test_refuses_a_network_that_does_not_fit_its_images(job: Job, sentence: str) -> None:
    with pytest.raises(TrainerError, match=sentence):
        layout(job)


def test_refuses_a_bundle_that_tells_other_classes_apart(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", {**VIT, "num_classes": 3})
    with pytest.raises(TrainerError, match=r"says \(3,\) of an image, and the job's classes need \(2,\)"):
        layout(WHOLE_VIT, bundle)


def test_refuses_other_shapes_and_an_empty_view(tmp_path: Path) -> None:
    from cloister.training.tasks import trainer_for

    view = write_view(tmp_path / "view", CLASSIFIER, 2, 1)
    setup = setup_of(CLASSIFIER, view)
    with pytest.raises(TrainerError, match="not those of the job"):
        trainer_for(setup.model_copy(update={"shapes": {**setup.shapes, "more": (1,)}}))
    with pytest.raises(RecordsError, match="no training records"):
        trainer_for(setup_of(CLASSIFIER, write_view(tmp_path / "empty", CLASSIFIER, 0, 1)))
