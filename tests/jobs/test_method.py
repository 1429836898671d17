# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from cloister.jobs import Job, Method

LORA = {"rank": 4, "alpha": 8, "targets": ["query"]}
WAYS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "ia3": {"targets": ["key"]},
    "prompt": {"tokens": 4},
    "prefix": {"tokens": 4},
    "bitfit": {},
    "full": {},
}
OF_TEXT = {
    "task": "text-classification",
    "dataset": {"name": "d", "text": "t", "label": "l", "labels": ["a", "b"]},
}
OF_TALK = {"task": "causal-language-modelling", "dataset": {"name": "d", "prompt": "p", "completion": "c"}}
OF_IMAGES = {
    "task": "image-classification",
    "dataset": {"name": "d", "image": "i", "label": "l", "labels": ["a", "b"]},
    "imaging": {"size": [8, 8]},
}


def job(method: dict[str, Any], about: dict[str, Any] = OF_TEXT, **training: Any) -> Job:
    model = {} if "architecture" in about else {"base_model": {"name": "m", "sha256": "0" * 64, "licence": "mit"}}
    document = json.dumps(
        {
            "job": "j",
            "purpose": "p",
            **model,
            **about,
            "method": method,
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 0.1, **training},
            "federation": {"rounds": 1},
        }
    )
    return Job.model_validate_json(document)


@pytest.mark.parametrize("name", WAYS)
def test_each_by_itself(name: str) -> None:
    way = job({name: WAYS[name]}).way
    assert way.name == name
    assert way.part == ("model" if name in ("bitfit", "full") else "adapter")
    assert way.virtual_tokens == (4 if name in ("prompt", "prefix") else 0)


@pytest.mark.parametrize("names", [(), ("lora", "full"), ("prompt", "prefix"), tuple(WAYS)])
def test_one_and_no_other(names: tuple[str, ...]) -> None:
    with pytest.raises(
        ValidationError, match="needs exactly one of `lora`, `ia3`, `prompt`, `prefix`, `bitfit`, `full`"
    ):
        Method.model_validate_json(json.dumps({name: WAYS[name] for name in names}))


@pytest.mark.parametrize("name", [name for name in WAYS if name != "full"])
def test_a_network_of_the_jobs_own_is_trained_whole(name: str) -> None:
    own = {
        "task": "tabular-classification",
        "dataset": {"name": "d", "features": ["a"], "label": "l", "labels": ["a", "b"]},
        "architecture": {"mlp": {}},
    }
    assert job({"full": {}}, own).way.full is not None
    with pytest.raises(ValidationError, match=f"adapts a base model with `{name}`, and names none; say `full: {{}}`"):
        job({name: WAYS[name]}, own)


@pytest.mark.parametrize("name", WAYS)
def test_images(name: str) -> None:
    if name in ("lora", "bitfit", "full"):
        assert job({name: WAYS[name]}, OF_IMAGES).parts == ("adapter" if name == "lora" else "model",)
        return
    with pytest.raises(ValidationError, match=f"may not train with `{name}` on images; it can with `lora`, `bitfit`"):
        job({name: WAYS[name]}, OF_IMAGES)


@pytest.mark.parametrize(
    ("key", "value"), [("dora", True), ("minimum_rank", 2), ("base_model_precision", "bfloat16"), ("rslora", True)]
)
def test_variants_on_images(key: str, value: Any) -> None:
    about = {**OF_IMAGES, "aggregation": {"factors": "refactored"}} if key == "minimum_rank" else OF_IMAGES
    if key == "rslora":
        assert job({"lora": {**LORA, key: value}}, about).way.lora is not None
        return
    with pytest.raises(ValidationError, match=f"may not give `{key}` in `method.lora` on images"):
        job({"lora": {**LORA, key: value}}, about)


@pytest.mark.parametrize("name", WAYS)
def test_packing(name: str) -> None:
    if name not in ("prompt", "prefix"):
        assert job({name: WAYS[name]}, OF_TALK, packing=True).plan.packing
        return
    assert job({name: WAYS[name]}, OF_TALK).way.virtual_tokens
    with pytest.raises(ValidationError, match=f"may not have both `packing` in `training` and `method.{name}`"):
        job({name: WAYS[name]}, OF_TALK, packing=True)


@pytest.mark.parametrize("precision", ["bfloat16", "nf4"])
def test_lengths_are_those_of_the_file(precision: str) -> None:
    lora = {**LORA, "base_model_precision": precision}
    assert job({"lora": lora}).way.lora is not None
    with pytest.raises(ValidationError, match=f"may not have both `dora` and `base_model_precision: {precision}`"):
        job({"lora": {**lora, "dora": True}})


def test_scaled_inputs_are_of_layers_that_are_adapted() -> None:
    assert job({"ia3": {"targets": ["key", "output.dense"], "feedforward": ["output.dense"]}}).way.ia3 is not None
    with pytest.raises(ValidationError, match="names `dense` in `feedforward` and not in `targets`"):
        job({"ia3": {"targets": ["key", "output.dense"], "feedforward": ["dense"]}})


@pytest.mark.parametrize("name", ["prompt", "prefix"])
@pytest.mark.parametrize("tokens", [0, 257])
def test_tokens_in_bounds(name: str, tokens: int) -> None:
    with pytest.raises(ValidationError):
        job({name: {"tokens": tokens}})
