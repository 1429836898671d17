# SPDX-License-Identifier: Apache-2.0
"""Which tensors are exchanged where a transformer is trained, worked out from its safetensors header alone.

A site must know which tensors may leave before any training code runs, and the server must start the first round
without loading the base model. Both take the answer from here: the names and shapes of a safetensors header
(https://huggingface.co/docs/safetensors#format), the job's method and the number of classes. No model is built.

Tensor names are those of `peft.get_peft_model_state_dict`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import RecordsError
from cloister.jobs.adapter import AdapterLayout, TensorSpec
from cloister.jobs.method import Lora
from cloister.jobs.model import Job
from cloister.jobs.safetensors_header import read_header
from cloister.jobs.tasks import Task

_PREFIX = "base_model.model"


@dataclass(frozen=True)
class _Architecture:
    """How one `model_type` of transformers is built as a sequence classifier.

    Attributes:
        encoder: the name under which it holds the base model.
        adapted: how the names of the base model's linear layers start; a file may hold others, such as the head that
            the base model was first trained with, which the classifier leaves out.
        head: its layers as (name, output size), where None stands for the number of classes, -1 for the hidden size.
    """

    encoder: str
    adapted: tuple[str, ...]
    head: tuple[tuple[str, int | None], ...]


_ROBERTA = _Architecture("roberta", ("encoder.layer.",), (("classifier.dense", -1), ("classifier.out_proj", None)))
_ARCHITECTURES = {
    "bert": _Architecture("bert", ("encoder.layer.", "pooler."), (("classifier", None),)),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": _Architecture("distilbert", ("transformer.layer.",), (("pre_classifier", -1), ("classifier", None))),
}


def transformer_layout(base_model: Path, job: Job) -> AdapterLayout:
    """The adapter of ``job`` on the base model in the folder ``base_model``.

    Raises:
        RecordsError: where the folder holds no base model that can be adapted as the job says.
    """
    try:
        config = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
        kind, hidden = config["model_type"], config.get("hidden_size") or config["dim"]
        if type(hidden) is not int or hidden < 1 or not isinstance(kind, str):
            raise ValueError("no sensible `model_type` or `hidden_size`")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordsError(f"base model `{base_model}` has no readable config.json: {error}") from error
    if kind not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        raise RecordsError(f"base models of type `{kind}` cannot be adapted for {job.task}", hint=f"known: {known}")
    architecture = _ARCHITECTURES[kind]
    header = read_header(base_model / "model.safetensors")
    inner = {name.removeprefix(f"{architecture.encoder}."): shape for name, shape in header.items()}
    shapes = {
        f"{architecture.encoder}.{name}": shape
        for name, shape in inner.items()
        if name.startswith(architecture.adapted)
    }
    lora = job.way.lora
    if lora is None or job.task is not Task.TEXT_CLASSIFICATION:
        raise RecordsError(f"base models are not yet trained with `{job.way.name}` for {job.task}")
    tensors = _factors(shapes, lora, base_model)
    for name, size in architecture.head:
        rows = len(job.dataset.labels) if size is None else hidden
        tensors += [
            TensorSpec(f"{_PREFIX}.{name}.weight", (rows, hidden), "normal"),
            TensorSpec(f"{_PREFIX}.{name}.bias", (rows,), "zeros"),
        ]
    modules = tuple(dict.fromkeys(name.split(".")[0] for name, _ in architecture.head))
    return AdapterLayout(tuple(sorted(tensors, key=lambda tensor: tensor.name)), modules)


def _factors(shapes: Mapping[str, tuple[int, ...]], lora: Lora, base_model: Path) -> list[TensorSpec]:
    tensors: list[TensorSpec] = []
    for target in lora.targets:
        layers = [
            name for name, shape in shapes.items() if len(shape) == 2 and f".{name}".endswith(f".{target}.weight")
        ]
        if not layers:
            hint = "look at the base model's layers: for BERT they are `query`, `key`, `value`, `dense`"
            raise RecordsError(f"base model `{base_model.name}` has no linear layer `{target}`", hint=hint)
        for layer in layers:
            rows, columns = shapes[layer]
            stem = f"{_PREFIX}.{layer.removesuffix('.weight')}"
            tensors += [
                TensorSpec(f"{stem}.lora_A.weight", (lora.rank, columns), "uniform"),
                TensorSpec(f"{stem}.lora_B.weight", (rows, lora.rank), "zeros"),
            ]
    return list({tensor.name: tensor for tensor in tensors}.values())
