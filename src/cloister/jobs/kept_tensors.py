# SPDX-License-Identifier: Apache-2.0
"""Which of a job's tensors the sites exchange, and which each site keeps for itself.

| The job says | Exchanged beside the network's tensors | Kept at the site |
|---|---|---|
| `personal` | without those layers | those layers, by their own names |
| `client.scaffold` | `control.<name>`, the control variate of all sites | `control_own.<name>`, the site's own |
| `client.ditto` | nothing | `ditto.<name>`, the site's own copy |

Server, site and trainer all work it out from the job and the layout of the network that is trained, see
`cloister.jobs.layout_of`. What is kept comes to the trainer with each request and goes back with each round, under
`kept.` and its name, so that a trainer that dies loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from cloister.errors import JobError
from cloister.jobs.adapter import CONTROL, AdapterLayout, Arrays, TensorSpec, initial_adapter
from cloister.jobs.aggregation import Aggregation

OWN_CONTROL, DITTO = "control_own.", "ditto."
"""How the names of kept tensors begin, but for those of personal layers."""

KEPT = "kept."
"""How the names of kept tensors begin where they lie in one file with exchanged ones."""

_TAKEN = (CONTROL, OWN_CONTROL, DITTO, KEPT)


def exchanged_layout(aggregation: Aggregation, layout: AdapterLayout) -> AdapterLayout:
    """What the sites of a job send and receive.

    Args:
        aggregation: what the job says.
        layout: of the whole network.

    Raises:
        JobError: where a personal layer is none of the network's, where nothing is left to exchange, or where the
            network's names are those that are meant for something else.
    """
    _check(aggregation, layout)
    shared = [tensor for tensor in layout.tensors if not _is_personal(aggregation, tensor)]
    if aggregation.client is not None and aggregation.client.scaffold is not None:
        shared += _copies(CONTROL, shared)
    return _part(layout, shared)


def kept_layout(aggregation: Aggregation, layout: AdapterLayout) -> AdapterLayout:
    """What never leaves a site; without tensors where a job keeps none.

    Args:
        aggregation: what the job says.
        layout: of the whole network.

    Raises:
        JobError: as `exchanged_layout` does.
    """
    _check(aggregation, layout)
    shared = [tensor for tensor in layout.tensors if not _is_personal(aggregation, tensor)]
    kept = [tensor for tensor in layout.tensors if _is_personal(aggregation, tensor)]
    client = aggregation.client
    if client is not None and client.scaffold is not None:
        kept += _copies(OWN_CONTROL, shared)
    if client is not None and client.ditto is not None:
        kept += _copies(DITTO, shared)
    return _part(layout, kept)


def first_kept(aggregation: Aggregation, layout: AdapterLayout, seed: int) -> Arrays:
    """What a site keeps before its first round.

    Personal layers start as they would where they were shared, so that all sites begin with the same network, and
    control variates at zero. A site's own copy is not among them: it starts from the first weights that come.

    Args:
        aggregation: what the job says.
        layout: of the whole network.
        seed: the job's.

    Raises:
        JobError: as `exchanged_layout` does.
    """
    kept = [tensor for tensor in kept_layout(aggregation, layout).tensors if not tensor.name.startswith(DITTO)]
    if not kept:
        return {}
    drawn = initial_adapter(layout, seed) if aggregation.personal else {}
    return {
        tensor.name: drawn[tensor.name] if tensor.name in drawn else np.zeros(tensor.shape, np.float32)
        for tensor in kept
    }


def is_control(name: str) -> bool:
    """Whether the exchanged tensor ``name`` is a control variate, which is no part of the result."""
    return name.startswith(CONTROL)


def _check(aggregation: Aggregation, layout: AdapterLayout) -> None:
    if any(tensor.name.startswith(_TAKEN) for tensor in layout.tensors):
        raise JobError(f"the network has a layer named as Cloister names others: one of {_listed(_TAKEN)}")
    for layer in aggregation.personal:
        if not any(_lies_in(layer, tensor) for tensor in layout.tensors):
            known = _listed(sorted({_layer_of(tensor) for tensor in layout.tensors})[:20])
            raise JobError(f"the network trains no layer `{layer}` that could be personal", hint=f"it trains {known}")
    if layout.tensors and all(_is_personal(aggregation, tensor) for tensor in layout.tensors):
        raise JobError("all that the job trains is personal, and nothing is left to exchange")
    if aggregation.personal and aggregation.client is not None and aggregation.client.ditto is not None:
        raise JobError("the job has personal layers, and a copy of its own at each site that has them already")


def _is_personal(aggregation: Aggregation, tensor: TensorSpec) -> bool:
    return any(_lies_in(layer, tensor) for layer in aggregation.personal)


def _lies_in(layer: str, tensor: TensorSpec) -> bool:
    """Whether ``tensor`` is of a layer whose name ends with ``layer``, or of one inside it."""
    return f".{layer}." in f".{tensor.name}."


def _layer_of(tensor: TensorSpec) -> str:
    """The last word of a layer's name, as people would write it."""
    parts = [part for part in tensor.name.split(".") if not part.startswith("lora_")]
    return parts[-2] if len(parts) > 1 else parts[-1]


def _copies(prefix: str, tensors: list[TensorSpec]) -> list[TensorSpec]:
    return [TensorSpec(prefix + tensor.name, tensor.shape, "zeros") for tensor in tensors]


def _part(layout: AdapterLayout, tensors: list[TensorSpec]) -> AdapterLayout:
    names = {tensor.name for tensor in tensors}
    bases = tuple((name, values) for name, values in layout.bases if name in names)
    return replace(layout, tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)), bases=bases)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
