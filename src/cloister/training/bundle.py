# SPDX-License-Identifier: Apache-2.0
"""Networks of MONAI bundles (https://docs.monai.io/en/stable/mb_specification.html), taken as data.

MONAI's own parser imports whatever a bundle names and evaluates the Python in it. Here the bundle is read as plain
JSON, its network is one of a list, and its arguments are values; weights come from safetensors and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from cloister.errors import TrainerError
from cloister.jobs.base_model import weights_of
from cloister.jobs.safetensors_header import read_header

CONFIGURATIONS = ("configs/inference.json", "configs/train.json")
"""Where `network_def` is looked for; the first that is there decides."""

NETWORKS = frozenset(
    {
        "AttentionUnet",
        "BasicUNet",
        "DenseNet",
        "DenseNet121",
        "DenseNet169",
        "DenseNet201",
        "DynUNet",
        "SegResNet",
        "SwinUNETR",
        "UNETR",
        "UNet",
        "ViT",
        "VNet",
    }
)
"""Classes of `monai.networks.nets` that are built from values alone."""

_MODULE = "monai.networks.nets."
_MAXIMUM_BYTES = 1 << 20
_EVALUATED = ("$", "@", "%")  # Python, references and macros, as MONAI's parser reads strings
_MAXIMUM_DEPTH = 8
_UNTRAINED = "num_batches_tracked"  # a count of whole numbers


def bundled_network(folder: Path) -> torch.nn.Module:
    """The network of the bundle in ``folder``, with its weights, float32, on the CPU.

    Raises:
        TrainerError: where the bundle names no network that is known, or its weights are not that network's.
        RecordsError: where its weights are not safetensors.
    """
    name, arguments = network_definition(folder)
    network = _built(name, arguments)
    _load(network, weights_of(folder))
    return network


def network_definition(folder: Path) -> tuple[str, dict[str, Any]]:
    """Class of `monai.networks.nets` and arguments of the bundle in ``folder``.

    Raises:
        TrainerError: where it names none that is known, or anything that would have to be evaluated.
    """
    file = next((name for name in CONFIGURATIONS if (folder / name).is_file()), None)
    if file is None:
        raise TrainerError("the base model is no MONAI bundle: it lacks `configs/inference.json`")
    definition = _read(folder, file).get("network_def")
    if not isinstance(definition, dict):
        raise TrainerError(f"the bundle's `{file}` says no `network_def` by its values")
    target = definition.get("_target_")
    name = target.removeprefix(_MODULE) if isinstance(target, str) else ""
    if name not in NETWORKS:
        raise TrainerError(
            f"the bundle's `{file}` names a network in `_target_` that is not known", hint=", ".join(sorted(NETWORKS))
        )
    arguments = {key: value for key, value in definition.items() if key not in ("_target_", "_desc_")}
    _check_plain(arguments, file, "network_def", 0)
    if arguments.get("pretrained"):
        raise TrainerError(f"the bundle's `{file}` asks for weights from elsewhere with `pretrained`")
    return name, arguments


def _read(folder: Path, file: str) -> dict[str, Any]:
    try:
        with (folder / file).open("rb") as stream:
            content = stream.read(_MAXIMUM_BYTES + 1)
        if len(content) > _MAXIMUM_BYTES:
            raise ValueError("longer than a configuration is")
        found = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise TrainerError(f"the bundle's `{file}` is no readable JSON") from error
    if not isinstance(found, dict):
        raise TrainerError(f"the bundle's `{file}` is no mapping")
    return found


def _check_plain(value: Any, file: str, place: str, depth: int) -> None:
    """Refuse what MONAI's parser would import or evaluate."""
    if depth > _MAXIMUM_DEPTH:
        raise TrainerError(f"the bundle's `{file}` is nested too deep in `network_def`")
    if isinstance(value, str) and value.startswith(_EVALUATED):
        hint = "write the value itself into the bundle"
        raise TrainerError(f"the bundle's `{file}` has in `{place}` an expression, which is not evaluated", hint=hint)
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key.startswith("_") or not key.isidentifier():
                raise TrainerError(f"the bundle's `{file}` has in `{place}` a key that is no argument's name")
            _check_plain(each, file, f"{place}.{key}", depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check_plain(each, file, place, depth + 1)


def _built(name: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    # MONAI takes seconds to import, and a bundle that is refused does not need it.
    from monai.networks import nets  # noqa: PLC0415

    try:
        network: torch.nn.Module = getattr(nets, name)(**arguments)
    except Exception as error:
        raise TrainerError(f"MONAI builds no `{name}` from the bundle's `network_def`: {in_short(error)}") from error
    return network.float()


def _load(network: torch.nn.Module, path: Path) -> None:
    state = network.state_dict(keep_vars=True)
    own = {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_UNTRAINED)}
    found = {key: shape for key, shape in read_header(path).items() if not key.endswith(_UNTRAINED)}
    # One weight may have several names, of which safetensors stores the first alone; a `DynUNet` has such.
    loaded = {id(state[key]) for key in found if key in own}
    wanted = {key: shape for key, shape in own.items() if key in found or id(state[key]) not in loaded}
    if wanted != found:
        different = sorted(set(wanted.items()) ^ set(found.items()))[0][0]
        raise TrainerError(f"the bundle's weights are not those of its network: `{different}` differs or is missing")
    try:
        network.load_state_dict(safetensors.torch.load_file(path), strict=False)
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise TrainerError("the bundle's weights cannot be read") from error


def in_short(error: Exception) -> str:
    """The first line of what a library says, cut; for errors that come about before any record is read."""
    said = " ".join(str(error).split())
    return (said if said.isprintable() else type(error).__name__)[:200]
