# SPDX-License-Identifier: Apache-2.0
"""Which tensors are exchanged where a transformer is trained, worked out from its safetensors header alone.

A site must know which tensors may leave before any training code runs, and the server must start the first round
without loading the base model. Both take the answer from here: the names and shapes of a safetensors header
(https://huggingface.co/docs/safetensors#format), the job's method and the number of classes. No model is built.

Of low-rank adaptation the names are those of `peft.get_peft_model_state_dict`; where every weight is trained, those of
the model's `state_dict`, a weight that stands in two places once, by the first of its names. Of DoRA alone the adapted
weights' values are read as well, for their rows' lengths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.errors import RecordsError
from cloister.jobs.adapter import FACTOR_A, FACTOR_B, MAGNITUDE, AdapterLayout, TensorSpec
from cloister.jobs.method import Lora
from cloister.jobs.model import Job
from cloister.jobs.row_lengths import row_lengths
from cloister.jobs.safetensors_header import read_header
from cloister.jobs.tags import tags_of
from cloister.jobs.tasks import Task
from cloister.jobs.transformer_kinds import CLASSES, KINDS, TransformerKind

_PREFIX = "base_model.model"

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Configuration:
    """What `config.json` says that matters here.

    Attributes:
        kind: of the base model, by its `model_type`.
        hidden: size of what a layer gives.
        layers: how many are used; a file may hold more. None where the configuration does not say.
        tied: whether the output's weight is the embedding's.
    """

    kind: TransformerKind
    hidden: int
    layers: int | None
    tied: bool


def transformer_layout(base_model: Path, job: Job, rank: int | None = None) -> AdapterLayout:
    """What ``job`` exchanges where it trains the base model in the folder ``base_model``.

    Args:
        base_model: holds `config.json` and `model.safetensors`.
        job: what is trained.
        rank: of low-rank factors, where it is not the job's.

    Raises:
        RecordsError: where the folder holds no base model that can be trained as the job says.
    """
    config = _configuration(base_model, job)
    kind, lora = config.kind, job.way.lora
    file = base_model / "model.safetensors"
    header = read_header(file)
    linear, other = _weights(header, config, job)
    if kind.output and not config.tied and f"{kind.output}.weight" not in other:
        hint = "take the checkpoint of the whole language model"
        raise RecordsError(f"base model `{base_model.name}` lacks its output layer `{kind.output}`", hint=hint)
    if lora is None:
        if not linear:
            raise RecordsError(f"base model `{base_model.name}` has no layers", hint="are these its weights?")
        tensors = [TensorSpec(name, shape, "zeros") for name, shape in {**linear, **other}.items()]
    else:
        tensors = _factors(linear, lora, base_model.name, rank or lora.rank, transposed=kind.transposed)
    heads = kind.heads[job.task]
    prefix = "" if lora is None else f"{_PREFIX}."
    for name, size in heads:
        rows = _classes(job) if size == CLASSES else config.hidden
        tensors += [
            TensorSpec(f"{prefix}{name}.weight", (rows, config.hidden), "normal"),
            TensorSpec(f"{prefix}{name}.bias", (rows,), "zeros"),
        ]
    modules = tuple(dict.fromkeys(name.split(".")[0] for name, _ in heads))
    tensors.sort(key=lambda tensor: tensor.name)
    bases = []
    for name in (tensor.name for tensor in tensors if tensor.name.endswith(MAGNITUDE)):
        full_name = f"{name.removeprefix(f'{_PREFIX}.').removesuffix(MAGNITUDE)}.weight"
        stored = full_name if full_name in header else full_name.removeprefix(f"{kind.encoder}.")
        bases.append((name, row_lengths(file, stored, transposed=kind.transposed)))
    transposed = lora is not None and kind.transposed
    return AdapterLayout(tuple(tensors), modules, transposed=transposed, bases=tuple(bases))


def _configuration(base_model: Path, job: Job) -> _Configuration:
    try:
        config: dict[str, Any] = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
        name = config["model_type"]
        hidden = _first_of(config, "hidden_size", "dim", "n_embd")
        layers = _first_of(config, "num_hidden_layers", "n_layers", "n_layer")
        tied = config.get("tie_word_embeddings")
        if type(hidden) is not int or hidden < 1 or not isinstance(name, str):
            raise ValueError("no sensible `model_type` or `hidden_size`")
        if (layers is not None and type(layers) is not int) or not isinstance(tied, bool | None):
            raise ValueError("no sensible `num_hidden_layers` or `tie_word_embeddings`")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordsError(f"base model `{base_model}` has no readable config.json: {error}") from error
    kind = KINDS.get(name)
    if kind is None or job.task not in kind.heads:
        known = ", ".join(sorted(name for name, each in KINDS.items() if job.task in each.heads))
        hint = f"known: {known}" if known else ""
        raise RecordsError(f"base models of type `{name}` cannot be adapted for {job.task}", hint=hint)
    return _Configuration(kind, hidden, layers, kind.tied if tied is None else tied)


def _first_of(config: Mapping[str, Any], *keys: str) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), None)


def _classes(job: Job) -> int:
    labels = job.dataset.labels
    return len(tags_of(labels)) if job.task is Task.TOKEN_CLASSIFICATION else len(labels)


def _weights(header: Mapping[str, tuple[int, ...]], config: _Configuration, job: Job) -> tuple[Shapes, Shapes]:
    """Linear layers' weights, and all others that the task's model has; a file may hold more, such as another head."""
    kind = config.kind
    linear: Shapes = {}
    other: Shapes = {}
    for full_name, shape in header.items():
        # Files of a bare base model lack the encoder's name.
        name = full_name.removeprefix(f"{kind.encoder}.")
        if found := kind.layer_pattern.fullmatch(name):
            if config.layers is None or int(found[1]) < config.layers:
                (linear if len(shape) == 2 else other)[f"{kind.encoder}.{name}"] = shape
        elif kind.outside_pattern.fullmatch(name):
            other[f"{kind.encoder}.{name}"] = shape
        elif kind.pooler and job.task is Task.TEXT_CLASSIFICATION and name.rpartition(".")[0] == kind.pooler:
            (linear if len(shape) == 2 else other)[f"{kind.encoder}.{name}"] = shape
        elif kind.output and full_name == f"{kind.output}.weight" and not config.tied:
            other[full_name] = shape
    return linear, other


def _factors(layers: Shapes, lora: Lora, base_model: str, rank: int, *, transposed: bool) -> list[TensorSpec]:
    tensors: list[TensorSpec] = []
    for target in lora.targets:
        chosen = [name for name in layers if f".{name}".endswith(f".{target}.weight")]
        if not chosen:
            known = ", ".join(f"`{name}`" for name in dict.fromkeys(_last_word(name) for name in layers))
            raise RecordsError(
                f"base model `{base_model}` has no linear layer `{target}`", hint=f"it has {known or 'none'}"
            )
        for layer in chosen:
            rows, columns = reversed(layers[layer]) if transposed else layers[layer]
            stem = f"{_PREFIX}.{layer.removesuffix('.weight')}"
            tensors += [
                TensorSpec(f"{stem}{FACTOR_A}", (rank, columns), "uniform"),
                TensorSpec(f"{stem}{FACTOR_B}", (rows, rank), "zeros"),
            ]
            if lora.dora:
                tensors.append(TensorSpec(f"{stem}{MAGNITUDE}", (rows,), "zeros"))
    return list({tensor.name: tensor for tensor in tensors}.values())


def _last_word(layer: str) -> str:
    return layer.removesuffix(".weight").rpartition(".")[2]
