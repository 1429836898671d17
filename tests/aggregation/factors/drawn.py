# SPDX-License-Identifier: Apache-2.0
"""Factors as sites could have them after a round, drawn by a seed or by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from cloister.aggregation.factors import Trained
from cloister.jobs.adapter import AdapterLayout, Arrays, TensorSpec

LAYERS = {"m.query": (1.0, 1), "m.value": (0.5, 2)}
"""By name of a layer, what its sizes are divided by, so that not all are alike."""


@dataclass(frozen=True)
class Sizes:
    output: int
    input: int
    rank: int


def layout(sizes: Sizes) -> AdapterLayout:
    tensors = [TensorSpec("head.weight", (2, 3), "normal")]
    for layer, (_, divisor) in LAYERS.items():
        output, width = max(1, sizes.output // divisor), max(1, sizes.input // divisor)
        tensors.append(TensorSpec(f"{layer}.lora_A.weight", (sizes.rank, width), "uniform"))
        tensors.append(TensorSpec(f"{layer}.lora_B.weight", (output, sizes.rank), "zeros"))
    return AdapterLayout(tuple(sorted(tensors, key=lambda tensor: tensor.name)), ("head",))


def values(of: AdapterLayout, seed: int, scale: float = 1.0) -> Arrays:
    """Normal values of every tensor."""
    random = np.random.Generator(np.random.PCG64(seed))
    return {tensor.name: (random.normal(size=tensor.shape) * scale).astype(np.float32) for tensor in of.tensors}


def product(arrays: Arrays, layer: str) -> np.ndarray:
    """B A, written out in float64."""
    b, a = arrays[f"{layer}.lora_B.weight"], arrays[f"{layer}.lora_A.weight"]
    return b.astype(np.float64) @ a.astype(np.float64)


def mean_product(trained: list[Trained], layer: str) -> np.ndarray:
    total = sum(each.weight for each in trained)
    return sum(each.weight / total * product(each.arrays, layer) for each in trained)


def summands(trained: list[Trained], layer: str) -> float:
    """Sum of the norms of what is summed up, against which rounding is measured where summands cancel."""
    total = sum(each.weight for each in trained)
    return sum(each.weight / total * float(np.linalg.norm(product(each.arrays, layer))) for each in trained)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Frobenius norm of the difference over that of what is wanted."""
    apart, whole = float(np.linalg.norm(found - wanted)), float(np.linalg.norm(wanted))
    return apart / whole if whole else apart


sizes = st.builds(Sizes, output=st.integers(1, 24), input=st.integers(1, 24), rank=st.integers(1, 16))
wide = st.builds(Sizes, output=st.integers(130, 180), input=st.integers(130, 180), rank=st.integers(1, 8))
"""So wide that the products of eight sites have a sum of a higher rank than any one of them."""
weights = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=8)
seeds = st.integers(0, 2**32 - 1)


def sites(of: AdapterLayout, weights: list[float], seed: int, start: Arrays | None = None) -> list[Trained]:
    """One site for each weight, with changes of its own to ``start``."""
    found = []
    for index, weight in enumerate(weights):
        changed = values(of, seed + index, 0.1)
        arrays = {name: (changed[name] + (0 if start is None else start[name])).astype(np.float32) for name in changed}
        found.append(Trained(f"site-{index}", weight, arrays))
    return found
