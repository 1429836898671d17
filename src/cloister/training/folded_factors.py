# SPDX-License-Identifier: Apache-2.0
"""Factors of former rounds, folded into the base model's weights, see `cloister.aggregation.factors.flora`.

A copy of the weights as they were loaded is kept of each adapted layer. What is folded is added to that copy each time,
and not to the last sum, so that rounding does not add up and a trainer that starts anew comes to the same weights.
"""

from __future__ import annotations

from typing import Any

import torch

from cloister.errors import TrainerError
from cloister.jobs.adapter import FACTOR_A, FACTOR_B
from cloister.training.exchange import Tensors

_NAME = "default"
"""What PEFT calls an adapter that is given no name."""


class FoldedFactors:
    """The adapted layers of ``model`` and the weights that they were loaded with.

    Args:
        model: with factors beside its layers, as `peft` makes it.
    """

    def __init__(self, model: Any) -> None:
        self._layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
        self._weights: Tensors = {}

    def fold(self, tensors: Tensors) -> None:
        """Make each layer's weight W + s B A, with the scale s of the job's own factors.

        Args:
            tensors: two factors of each layer by PEFT's names, (rank, input) and (output, rank), of any rank; empty
                before the first round, which leaves or puts back W.

        Raises:
            TrainerError: where they are not those of the model's layers.
        """
        if not tensors and not self._weights:
            return
        names = {layer + ending for layer in self._layers for ending in (FACTOR_A, FACTOR_B)}
        if tensors and set(tensors) != names:
            raise TrainerError("the factors to fold in are not those of the adapted layers")
        with torch.no_grad():
            for name, layer in self._layers.items():
                weight = layer.get_base_layer().weight
                loaded = self._weights.setdefault(name, weight.detach().clone())
                weight.copy_(loaded + self._added(name, tensors, loaded) if tensors else loaded)

    def _added(self, name: str, tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
        layer = self._layers[name]
        a, b = (tensors[name + ending].to(weight.device, torch.float32) for ending in (FACTOR_A, FACTOR_B))
        shape = tuple(weight.T.shape if layer.fan_in_fan_out else weight.shape)
        if a.ndim != 2 or b.ndim != 2 or (b.shape[0], a.shape[1], b.shape[1]) != (*shape, a.shape[0]):
            raise TrainerError(f"the factors to fold into `{name}` are not of its shape")
        product = b @ a * float(layer.scaling[_NAME])
        return product.T if layer.fan_in_fan_out else product
