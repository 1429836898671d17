# SPDX-License-Identifier: Apache-2.0
"""What an adapter consists of, worked out from the base model's header alone.

A site must know which tensors may leave before any training code runs, and the server must start the first round
without loading the base model. Both take the answer from here: the names and shapes of a safetensors header
(https://huggingface.co/docs/safetensors#format), the job's method and the number of classes. No model is built.

Tensor names are those of `peft.get_peft_model_state_dict`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cloister.errors import RecordsError
from cloister.files import canonical_json, sha256_of
from cloister.jobs.model import Job, Lora
from cloister.jobs.safetensors_header import read_header

Arrays = dict[str, npt.NDArray[np.float32]]

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


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter.

    Attributes:
        name: as `peft` names it.
        shape: its dimensions.
        start: how its first value is drawn.
    """

    name: str
    shape: tuple[int, ...]
    start: Literal["uniform", "zeros", "normal"]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class AdapterLayout:
    """All tensors of an adapter, float32, sorted by name."""

    tensors: tuple[TensorSpec, ...]
    head_modules: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Size of the values in bytes."""
        return 4 * self.size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    def to_json(self) -> dict[str, Any]:
        """As plain values, for sending."""
        tensors = [[tensor.name, list(tensor.shape), tensor.start] for tensor in self.tensors]
        return {"tensors": tensors, "head_modules": list(self.head_modules)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AdapterLayout:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: where ``value`` is not a layout.
        """
        try:
            tensors = tuple(
                TensorSpec(str(name), tuple(int(n) for n in shape), start) for name, shape, start in value["tensors"]
            )
            layout = cls(tensors, tuple(str(name) for name in value["head_modules"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("not an adapter's layout") from error
        if any(start not in ("uniform", "zeros", "normal") for _, _, start in value["tensors"]) or any(
            not spec.shape or min(spec.shape) < 1 for spec in tensors
        ):
            raise ValueError("not an adapter's layout")
        return layout

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the layout."""
        return sha256_of(canonical_json(self.to_json()))


def layout_of(base_model: Path, job: Job) -> AdapterLayout:
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
    tensors = _factors(shapes, job.method.lora, base_model)
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


def initial_adapter(layout: AdapterLayout, seed: int) -> Arrays:
    """The adapter that the first round starts from: no change to the base model, and a small random head.

    `uniform` is Kaiming's with a = sqrt(5), as `peft` draws A: U(-1/sqrt(n), 1/sqrt(n)) for n columns. `normal` is
    N(0, 0.02), as BERT's heads start (https://arxiv.org/abs/1810.04805).
    """
    random = np.random.Generator(np.random.PCG64(seed))
    arrays: Arrays = {}
    for tensor in layout.tensors:
        if tensor.start == "uniform":
            bound = tensor.shape[-1] ** -0.5
            arrays[tensor.name] = random.uniform(-bound, bound, tensor.shape).astype(np.float32)
        elif tensor.start == "normal":
            arrays[tensor.name] = random.normal(0.0, 0.02, tensor.shape).astype(np.float32)
        else:
            arrays[tensor.name] = np.zeros(tensor.shape, np.float32)
    return arrays


def adapter_config(job: Job, layout: AdapterLayout) -> dict[str, Any]:
    """What `peft` reads as `adapter_config.json` beside the result's tensors."""
    lora = job.method.lora
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": job.base_model.name,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": sorted(lora.targets),
        "modules_to_save": sorted(layout.head_modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
