# SPDX-License-Identifier: Apache-2.0
"""Values to try codecs on."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import TensorSpec
from cloister.vectors import Vector
from cloister.wire import Schema


def schema_of(size: int) -> Schema:
    """One tensor of so many values."""
    return Schema((("weight", (size,)),))


def layout_of(**shapes: tuple[int, ...]) -> AdapterLayout:
    return AdapterLayout(tuple(TensorSpec(name, shape, "zeros") for name, shape in shapes.items()), ())


def gaussian(size: int, seed: int = 0, scale: float = 1.0) -> Vector:
    return (np.random.Generator(np.random.PCG64(seed)).normal(size=size) * scale).astype(np.float32)


def vectors(limit: float, largest_size: int = 600) -> st.SearchStrategy[Vector]:
    """Finite values of every size up to ``limit``, many of them alike, a few groups of them."""
    values = st.floats(-limit, limit, width=32)
    return st.integers(1, largest_size).flatmap(lambda size: arrays(np.float32, (size,), elements=values))
