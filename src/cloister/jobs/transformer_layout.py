# SPDX-License-Identifier: Apache-2.0
"""Which tensors are exchanged where a transformer is trained, worked out from its safetensors header alone.

A site must know which tensors may leave before any training code runs, and the server must start the first round
without loading the base model. Both take the answer from here: the names and shapes of a safetensors header
(https://huggingface.co/docs/safetensors#format), the job's method and the number of classes. No model is built.

Where something is added to the base model the names are those of `peft.get_peft_model_state_dict`; where its own
weights are trained, those of the model's `state_dict`, a weight that stands in two places once, by the first of its
names. Of DoRA alone the adapted weights' values are read as well, for their rows' lengths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.errors import RecordsError
from cloister.jobs.adapter import MAGNITUDE, AdapterLayout, TensorSpec
from cloister.jobs.method_tensors import LAYERS, bias_tensors, ia3_tensors, lora_tensors, virtual_tensors
from cloister.jobs.model import Job
from cloister.jobs.row_lengths import row_lengths
from cloister.jobs.safetensors_header import read_header
from cloister.jobs.tags import tags_of
from cloister.jobs.tasks import Task
from cloister.jobs.transformer_kinds import CLASSES, KINDS, TransformerKind

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Configuration:
    """What `config.json` says that matters here.

    Attributes:
        kind: of the base model, by its `model_type`.
        hidden: size of what a layer gives.
        layers: how many are used; a file may hold more. None where the configuration does not say.
        tied: whether the output's weight is the embedding's.
        keys: size of what all heads of a layer's attention have as a token's keys, or as its values.
    """

    kind: TransformerKind
    hidden: int
    layers: int | None
    tied: bool
    keys: int


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
    kind = config.kind
    file = base_model / "model.safetensors"
    header = read_header(file)
    linear, other = _weights(header, config, job)
    if kind.output and not config.tied and f"{kind.output}.weight" not in other:
        hint = "take the checkpoint of the whole language model"
        raise RecordsError(f"base model `{base_model.name}` lacks its output layer `{kind.output}`", hint=hint)
    if not linear:
        raise RecordsError(f"base model `{base_model.name}` has no layers", hint="are these its weights?")
    tensors = _trained(job, config, linear, other, base_model.name, rank)
    heads = kind.heads[job.task]
    for name, size in heads:
        rows = _classes(job) if size == CLASSES else config.hidden
        tensors += [
            TensorSpec(f"{_before_head(job)}{name}.weight", (rows, config.hidden), "normal"),
            TensorSpec(f"{_before_head(job)}{name}.bias", (rows,), "zeros"),
        ]
    modules = tuple(dict.fromkeys(name.split(".")[0] for name, _ in heads))
    tensors.sort(key=lambda tensor: tensor.name)
    bases = []
    for name in (tensor.name for tensor in tensors if tensor.name.endswith(MAGNITUDE)):
        full_name = f"{name.removeprefix(LAYERS).removesuffix(MAGNITUDE)}.weight"
        stored = full_name if full_name in header else full_name.removeprefix(f"{kind.encoder}.")
        bases.append((name, row_lengths(file, stored, transposed=kind.transposed)))
    transposed = kind.transposed and job.way.name in ("lora", "ia3")
    return AdapterLayout(tuple(tensors), modules, transposed=transposed, bases=tuple(bases))


def _trained(
    job: Job, config: _Configuration, linear: Shapes, other: Shapes, base_model: str, rank: int | None
) -> list[TensorSpec]:
    """What is exchanged beside the head."""
    way, kind = job.way, config.kind
    if way.lora is not None:
        return lora_tensors(linear, way.lora, base_model, rank or way.lora.rank, transposed=kind.transposed)
    if way.ia3 is not None:
        return ia3_tensors(linear, way.ia3, base_model, transposed=kind.transposed)
    if way.bitfit is not None:
        return bias_tensors({**linear, **other}, base_model)
    if way.full is not None:
        return [TensorSpec(name, shape, "zeros") for name, shape in {**linear, **other}.items()]
    if not kind.virtual_tokens:
        known = sorted(name for name, each in KINDS.items() if each.virtual_tokens and job.task in each.heads)
        hint = f"base models of these types can: {', '.join(known)}"
        raise RecordsError(f"base model `{base_model}` cannot be trained with `{way.name}`", hint=hint)
    if config.layers is None:
        raise RecordsError(f"base model `{base_model}` does not say how many layers it has")
    return virtual_tensors(way, config.hidden, 2 * config.layers * config.keys)


def _before_head(job: Job) -> str:
    """What PEFT puts before the names of a head's weights."""
    if job.way.part == "model":
        return ""
    return "base_model." if job.way.virtual_tokens else LAYERS


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
        keys = _keys(config, hidden)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordsError(f"base model `{base_model}` has no readable config.json: {error}") from error
    kind = KINDS.get(name)
    if kind is None or job.task not in kind.heads:
        known = ", ".join(sorted(name for name, each in KINDS.items() if job.task in each.heads))
        hint = f"known: {known}" if known else ""
        raise RecordsError(f"base models of type `{name}` cannot be adapted for {job.task}", hint=hint)
    return _Configuration(kind, hidden, layers, kind.tied if tied is None else tied, keys)


def _keys(config: Mapping[str, Any], hidden: int) -> int:
    """Size of a token's keys, of all heads of one layer's attention together."""
    heads = _first_of(config, "num_attention_heads", "n_heads", "n_head")
    heads = 1 if heads is None else heads
    groups = heads if config.get("num_key_value_heads") is None else config["num_key_value_heads"]
    if any(type(each) is not int or each < 1 for each in (heads, groups)):
        raise ValueError("no sensible `num_attention_heads` or `num_key_value_heads`")
    width = hidden // heads if config.get("head_dim") is None else config["head_dim"]
    if type(width) is not int or width < 1:
        raise ValueError("no sensible `head_dim`")
    return groups * width


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
