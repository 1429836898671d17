# SPDX-License-Identifier: Apache-2.0
"""The tensors that a job exchanges: their names and shapes, and their first values.

They are what is added to a base model and its head, or a network's own weights. Of a base model's own weights they are
what is added to them, so that the server need not have it; so they are of the lengths that DoRA trains, and what these
are added to comes with the layout.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load

from cloister.files import canonical_json, sha256_of

Arrays = dict[str, npt.NDArray[np.float32]]

Start = Literal["uniform", "zeros", "normal", "ones"]
"""How a tensor's first value is drawn, see `initial_adapter`."""


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
    start: Start

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


Part = Literal["adapter", "model", "head"]
"""What a policy calls the parts of an update: what is added to a base model, a network's own weights, layers that the
job adds."""

_DRAWN_AT_ONCE = 1 << 20  # values
_MOST_DIMENSIONS, _MOST_VALUES = 8, 1 << 48  # of a tensor, and of one of its dimensions

FACTOR_A, FACTOR_B = ".lora_A.weight", ".lora_B.weight"
"""How the names of the two factors end: A meets the layer's input first, and has the rank as its first dimension."""

MAGNITUDE = ".lora_magnitude_vector"
"""How the name of the lengths that DoRA trains ends."""

IA3 = ".ia3_l"
"""How the name of the factors of IA³ ends."""

PROMPT = "prompt_embeddings"
"""The name of virtual tokens' embeddings, or of their keys and values."""

_ADAPTER = (FACTOR_A, FACTOR_B, MAGNITUDE, IA3, PROMPT)

CONTROL = "control."
"""How the name of a control variate begins; that of the tensor that it belongs to follows."""


@dataclass(frozen=True)
class AdapterLayout:
    """All tensors of an adapter, float32, sorted by name.

    Attributes:
        tensors: what is exchanged.
        head_modules: layers that the job adds to the network, by the first word of their names.
        transposed: whether the adapted layers' weights have the input first; `peft` must be told.
        bases: by name of a tensor that is exchanged as a difference, what it is added to before `peft` reads it:
            little-endian float32, sorted by name. They follow from the base model alone.
    """

    tensors: tuple[TensorSpec, ...]
    head_modules: tuple[str, ...]
    transposed: bool = False
    bases: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Size of the values in bytes."""
        return 4 * self.size

    def part_of(self, tensor: TensorSpec) -> Part:
        """Which part of an update ``tensor`` is; a control variate is of the same as what it belongs to."""
        if module_of(tensor.name.removeprefix(CONTROL)) in self.head_modules:
            return "head"
        return "adapter" if tensor.name.endswith(_ADAPTER) else "model"

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an update consists of, the head last."""
        found = {self.part_of(tensor) for tensor in self.tensors}
        return tuple(part for part in get_args(Part) if part in found)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    def at_rank(self, rank: int) -> AdapterLayout:
        """The same with low-rank factors of ``rank``, as a site has them whose policy grants no more."""
        return replace(self, tensors=tuple(_at_rank(tensor, rank) for tensor in self.tensors))

    def to_json(self) -> dict[str, Any]:
        """As plain values, for sending."""
        tensors = [[tensor.name, list(tensor.shape), tensor.start] for tensor in self.tensors]
        plain = {"tensors": tensors, "head_modules": list(self.head_modules), "transposed": self.transposed}
        bases = {name: base64.b64encode(values).decode() for name, values in self.bases}
        return plain | ({"bases": bases} if bases else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AdapterLayout:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: where ``value`` is not a layout.
        """
        try:
            # Sizes are products: of a million dimensions it takes hours to work one out.
            if any(len(shape) > _MOST_DIMENSIONS for _, shape, _ in value["tensors"]):
                raise ValueError("a tensor has too many dimensions")
            tensors = tuple(
                TensorSpec(str(name), tuple(int(n) for n in shape), start) for name, shape, start in value["tensors"]
            )
            bases = tuple(
                (str(name), base64.b64decode(text, validate=True))
                for name, text in sorted(dict(value.get("bases", {})).items())
            )
            heads = tuple(str(name) for name in value["head_modules"])
            layout = cls(tensors, heads, bool(value["transposed"]), bases)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError("not an adapter's layout") from error
        if any(max(spec.shape, default=0) > _MOST_VALUES for spec in tensors):
            raise ValueError("not an adapter's layout")
        names = [spec.name for spec in tensors]
        if names != sorted(set(names)):
            raise ValueError("not an adapter's layout")
        sizes = {spec.name: 4 * spec.size for spec in tensors}
        if (
            any(start not in get_args(Start) for _, _, start in value["tensors"])
            or any(not spec.shape or min(spec.shape) < 1 for spec in tensors)
            or any(len(values) != sizes.get(name) for name, values in bases)
        ):
            raise ValueError("not an adapter's layout")
        return layout

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the layout."""
        return sha256_of(canonical_json(self.to_json()))


def module_of(name: str) -> str:
    """The first word of a tensor's or a parameter's ``name`` below what PEFT puts before it."""
    return name.removeprefix("base_model.").removeprefix("model.").split(".", maxsplit=1)[0]


def rank_in(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The rank of the low-rank factors among tensors of these ``shapes``; None where there are none."""
    return next((shape[0] for name, shape in shapes.items() if name.endswith(FACTOR_A)), None)


def _at_rank(tensor: TensorSpec, rank: int) -> TensorSpec:
    if tensor.name.endswith(FACTOR_A):
        return replace(tensor, shape=(rank, *tensor.shape[1:]))
    return replace(tensor, shape=(tensor.shape[0], rank)) if tensor.name.endswith(FACTOR_B) else tensor


def finished_adapter(layout: AdapterLayout, arrays: Arrays) -> Arrays:
    """``arrays`` as the result holds them: what was exchanged as a difference with that to which it is added."""
    bases = {name: np.frombuffer(values, "<f4") for name, values in layout.bases}
    return {
        name: array + bases[name].reshape(array.shape) if name in bases else array for name, array in arrays.items()
    }


def read_arrays(blob: bytes) -> Arrays:
    """The tensors in ``blob``, which is safetensors; whether they are the right ones is the caller's to see.

    Raises:
        ValueError: where it is not safetensors.
    """
    try:
        arrays: Arrays = load(blob)
    except (safetensors.SafetensorError, TypeError, KeyError) as error:
        raise ValueError("not safetensors") from error
    return arrays


def initial_adapter(layout: AdapterLayout, seed: int) -> Arrays:
    """What `initial_values` draws, by the tensors' names."""
    values = np.concatenate([np.empty(0, np.float32), *initial_values(layout, seed)])
    arrays, start = {}, 0
    for tensor in layout.tensors:
        arrays[tensor.name] = values[start : start + tensor.size].reshape(tensor.shape)
        start += tensor.size
    return arrays


def initial_values(layout: AdapterLayout, seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """What the first round starts from: no change to the base model, or a small one, and a small random head.

    `uniform` is Kaiming's with a = sqrt(5), as `peft` draws A and PyTorch linear maps and convolutions:
    U(-1/sqrt(n), 1/sqrt(n)) for a fan-in of n, which is the product of all dimensions but the first. `normal` is
    N(0, 0.02), as BERT's heads start (https://arxiv.org/abs/1810.04805). Scales of normalising layers start at one.

    Returns:
        The tensors' values in C order, one tensor after the other, in pieces that take little memory.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for tensor in layout.tensors:
        for start in range(0, tensor.size, _DRAWN_AT_ONCE):
            yield _drawn(random, tensor, min(_DRAWN_AT_ONCE, tensor.size - start))


def _drawn(random: np.random.Generator, tensor: TensorSpec, count: int) -> npt.NDArray[np.float32]:
    if tensor.start == "uniform":
        bound = math.prod(tensor.shape[1:]) ** -0.5
        return random.uniform(-bound, bound, count).astype(np.float32)
    if tensor.start == "normal":
        return random.normal(0.0, 0.02, count).astype(np.float32)
    return np.full(count, tensor.start == "ones", np.float32)
