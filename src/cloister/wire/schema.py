# SPDX-License-Identifier: Apache-2.0
"""Which values a vector holds, in which order: agreed once per job, so that afterwards only a digest travels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from cloister.errors import EgressError
from cloister.files import canonical_json
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.vectors import BLOCK_VALUES, Vector, blocks_of, values_in

DIGEST_BYTES = 16

_EXACT_IN_FLOAT32 = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


@dataclass(frozen=True)
class Schema:
    """The tensors of one kind of vector.

    Attributes:
        shapes: name and shape of each tensor, sorted by name.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, layout: AdapterLayout) -> Schema:
        """The schema of the tensors that ``layout`` names, which are those that are live."""
        return cls(tuple(sorted(layout.shapes().items())))

    @cached_property
    def size(self) -> int:
        """Number of values."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return blocks_of(self.size)

    def count(self, number: int) -> int:
        """Number of values in block ``number``, from 0."""
        return values_in(number, self.size)

    @cached_property
    def digest(self) -> bytes:
        """First 16 bytes of the SHA-256 of names, shapes and the length of a block, as canonical JSON."""
        content = {"block": BLOCK_VALUES, "tensors": [[name, list(shape)] for name, shape in self.shapes]}
        return hashlib.sha256(canonical_json(content)).digest()[:DIGEST_BYTES]

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Where each tensor lies in the vector."""
        places, start = {}, 0
        for name, shape in self.shapes:
            places[name] = slice(start, start := start + math.prod(shape))
        return places


def flatten(arrays: Mapping[str, np.ndarray[Any, Any]], schema: Schema) -> Vector:
    """The vector of ``arrays``, a copy; float16 and bfloat16 become float32 without loss.

    Raises:
        EgressError: where a tensor is missing, not part of ``schema``, or of another shape or type.
    """
    if len(arrays) > len(schema.shapes):
        raise EgressError("some tensors are not part of this round")
    vector = np.empty(schema.size, np.float32)
    for name, shape in schema.shapes:
        array = arrays.get(name)
        if array is None:
            raise EgressError(f"tensor `{name}` is missing")
        if array.shape != shape or array.dtype not in _EXACT_IN_FLOAT32:
            raise EgressError(f"tensor `{name}` is not float32, float16 or bfloat16 of shape {list(shape)}")
        vector[schema.places[name]].reshape(shape)[...] = array
    return vector


def unflatten(vector: Vector, schema: Schema) -> Arrays:
    """The tensors in ``vector``; they share its memory.

    Raises:
        EgressError: where ``vector`` has more or fewer values than ``schema``.
    """
    if vector.shape != (schema.size,):
        raise EgressError(f"the update has {vector.size} values where {schema.size} belong")
    return {name: vector[schema.places[name]].reshape(shape) for name, shape in schema.shapes}
