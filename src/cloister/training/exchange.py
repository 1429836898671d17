# SPDX-License-Identifier: Apache-2.0
"""What a network and the server exchange: safetensors of float32, by the names and shapes of the job's layout.

| Trained | Exchanged |
|---|---|
| what PEFT adds to a frozen base model, and its head | that and the head, see `cloister.training.low_rank` |
| a base model's own weights, all or biases alone | what is added to them; a head, which it lacks, as it is |
| every weight of a declared architecture | the weights |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch

from cloister.errors import TrainerError
from cloister.messages import Setup

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]
Parameters = dict[str, torch.nn.Parameter]


class Exchange(Protocol):
    """Takes tensors into a network, and gives them back."""

    def load(self, tensors: Tensors) -> None:
        """Put ``tensors`` into the network.

        Raises:
            TrainerError: where they are not exactly the job's.
        """

    def save(self) -> Tensors:
        """The network's tensors, in the same form; they may change as it is trained on."""

    def parameters(self) -> Parameters:
        """The network's own parameters behind those tensors, by their names; what only counts has none."""


class WeightExchange:
    """Exchanges the weights of ``model`` themselves, those that are counted, such as a normalising layer's, included.

    Args:
        model: a network that was built from the job's document.
        shapes: of the job's tensors.

    Raises:
        TrainerError: where ``model`` has other ones.
    """

    def __init__(self, model: torch.nn.Module, shapes: Shapes) -> None:
        self._shapes = shapes
        self._weights = weights_of(model)
        check_tensors(self._weights, shapes)

    def load(self, tensors: Tensors) -> None:
        """Put the weights ``tensors`` into the network; raises `TrainerError` where they are not the job's."""
        check_tensors(tensors, self._shapes)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors[name])

    def save(self) -> Tensors:
        """The weights."""
        return {name: weight.detach() for name, weight in self._weights.items()}

    def parameters(self) -> Parameters:
        """The weights that are learnt."""
        return _learnt(self._weights)


class DifferenceExchange:
    """Exchanges what is added to the weights of ``model``, which it was loaded with.

    Received tensors are kept beside: what training did not touch goes back as it came, to the last bit, though the sum
    with a large weight would have swallowed the end of it.

    Args:
        model: a base model; where a part of it is frozen, what is left is exchanged.
        shapes: of the job's tensors.
        is_new: whether a weight of this name is no base model's, but the job's own; it is exchanged as it is.

    Raises:
        TrainerError: where ``model`` has other weights.
    """

    def __init__(self, model: torch.nn.Module, shapes: Shapes, is_new: Callable[[str], bool]) -> None:
        self._shapes = shapes
        self._weights = weights_of(model)
        if not all(parameter.requires_grad for parameter in model.parameters()):
            self._weights = {name: weight for name, weight in self._weights.items() if weight.requires_grad}
        check_tensors(self._weights, shapes)
        with torch.no_grad():
            for name, weight in self._weights.items():
                if is_new(name):
                    weight.zero_()
        self._base = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._received = {name: torch.zeros_like(weight) for name, weight in self._base.items()}

    def load(self, tensors: Tensors) -> None:
        """Add ``tensors`` to the base model's weights; raises `TrainerError` where they are not the job's."""
        check_tensors(tensors, self._shapes)
        with torch.no_grad():
            for name, weight in self._weights.items():
                self._received[name].copy_(tensors[name])
                weight.copy_(self._base[name] + self._received[name])

    def save(self) -> Tensors:
        """The differences from the base model's weights."""
        return {
            name: received + (self._weights[name].detach() - (self._base[name] + received))
            for name, received in self._received.items()
        }

    def parameters(self) -> Parameters:
        """The weights that are learnt."""
        return _learnt(self._weights)


def exchange_of(model: Any, setup: Setup, shapes: Shapes, is_new: Callable[[str], bool]) -> Exchange:
    """What ``model`` exchanges, by the job's method.

    Args:
        model: with what is trained.
        setup: the job.
        shapes: of the network's tensors.
        is_new: whether a weight of this name is no base model's, but the job's own.

    Raises:
        TrainerError: where ``model`` does not have the tensors that the job declares.
    """
    if setup.method.part == "adapter":
        # Networks for columns have none, and do without the seconds that PEFT takes to import.
        from cloister.training.low_rank import AdapterExchange  # noqa: PLC0415

        return AdapterExchange(model, shapes)
    if setup.base_model is not None:
        return DifferenceExchange(model, shapes, is_new)
    return WeightExchange(model, shapes)


def _learnt(weights: Tensors) -> Parameters:
    return {name: weight for name, weight in weights.items() if isinstance(weight, torch.nn.Parameter)}


def weights_of(model: torch.nn.Module) -> Tensors:
    """Parameters and buffers of floating point that a file of ``model`` would hold, tied ones once, by name."""
    state = model.state_dict(keep_vars=True)
    kept: Tensors = {}
    seen: set[int] = set()
    # In the order of the modules, so that of tied weights the first name is kept, as `named_parameters` does.
    for name, tensor in state.items():
        if tensor.is_floating_point() and id(tensor) not in seen:
            seen.add(id(tensor))
            kept[name] = tensor
    return kept


def read_tensors(blob: bytes) -> Tensors:
    """The tensors in ``blob``, on the CPU.

    Raises:
        TrainerError: where it is not safetensors.
    """
    try:
        tensors: Tensors = safetensors.torch.load(blob)
    except safetensors.SafetensorError as error:
        raise TrainerError("the adapter that was sent is not safetensors") from error
    return tensors


def write_tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """``tensors`` as safetensors of float32, sorted by name: so the same tensors are the same bytes."""
    plain = {name: tensors[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(tensors)}
    content: bytes = safetensors.torch.save(plain)
    return content


def check_tensors(tensors: Mapping[str, torch.Tensor], shapes: Shapes) -> None:
    """Check that ``tensors`` are those that ``shapes`` names, in float32.

    Raises:
        TrainerError: where they are not.
    """
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != shapes or any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        different = sorted(set(found.items()) ^ set(shapes.items()))[:4]
        raise TrainerError(f"the adapter's tensors are not those of the job: {different}")
