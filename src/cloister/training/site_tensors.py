# SPDX-License-Identifier: Apache-2.0
"""What a trainer has of one request: the network's tensors, and what a client rule needs beside them.

The form of the blob is that of `cloister.messages.Train`. What is read here is what goes back, with what the round has
made of it, so that nothing that matters is in this process alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from cloister.jobs.adapter import CONTROL
from cloister.jobs.folded_tensors import apart_from_folded
from cloister.jobs.kept_tensors import DITTO, KEPT, OWN_CONTROL
from cloister.messages import Setup
from cloister.training.exchange import Shapes, Tensors, check_tensors, read_tensors, write_tensors


@dataclass
class SiteTensors:
    """Tensors on the CPU, each group by the names that the network's tensors have.

    Attributes:
        network: shared and personal ones, as they came.
        control: SCAFFOLD's c, over all sites.
        own_control: SCAFFOLD's c_i, the site's own.
        copy: Ditto's copy of the site's own; None before its first round, and for other rules.
        folded: factors of former rounds, which are not written back.
    """

    network: Tensors = field(default_factory=dict)
    control: Tensors = field(default_factory=dict)
    own_control: Tensors = field(default_factory=dict)
    copy: Tensors | None = None
    folded: Tensors = field(default_factory=dict)


def read_site_tensors(blob: bytes, setup: Setup) -> SiteTensors:
    """The tensors in ``blob``.

    Raises:
        TrainerError: where they are not exactly those that ``setup`` names.
    """
    tensors, folded = read_tensors(blob), Tensors()
    if setup.folds:
        tensors, folded = apart_from_folded(tensors)
    shapes = {**setup.shapes, **{KEPT + name: shape for name, shape in setup.kept.items()}}
    if not any(name.startswith(KEPT + DITTO) for name in tensors):
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(KEPT + DITTO)}
    check_tensors(tensors, shapes)
    beside = (CONTROL, KEPT + OWN_CONTROL, KEPT + DITTO)
    return SiteTensors(
        network={name.removeprefix(KEPT): each for name, each in tensors.items() if not name.startswith(beside)},
        control=_part(tensors, CONTROL),
        own_control=_part(tensors, KEPT + OWN_CONTROL),
        copy=_part(tensors, KEPT + DITTO) or None,
        folded=folded,
    )


def write_site_tensors(tensors: SiteTensors, setup: Setup) -> bytes:
    """``tensors`` in the form that a job process reads, with the network's as they are by now."""
    marked = {name if name in setup.shapes else KEPT + name: each for name, each in tensors.network.items()}
    for prefix, group in (
        (CONTROL, tensors.control),
        (KEPT + OWN_CONTROL, tensors.own_control),
        (KEPT + DITTO, tensors.copy or {}),
    ):
        marked |= {prefix + name: each for name, each in group.items()}
    return write_tensors(marked)


def copies_of(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """``tensors`` on the CPU, apart from the network that they may be of."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def network_shapes(setup: Setup) -> Shapes:
    """Shape of each tensor of the network, shared or personal."""
    personal = {name: shape for name, shape in setup.kept.items() if not name.startswith((OWN_CONTROL, DITTO))}
    return {name: shape for name, shape in setup.shapes.items() if not name.startswith(CONTROL)} | personal


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
