# SPDX-License-Identifier: Apache-2.0
"""A pull towards given weights, as FedProx has it for the weights that came, and Ditto for its own copy.

To what is minimised, strength / 2 times the squared Euclidean distance from those weights is added (FedProx,
https://arxiv.org/abs/1812.06127, equation 2), over all parameters that are trained. Its gradient, strength times the
difference, is added to that of the loss, which is the same and computes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from cloister.training.loop import Correction


class Pull(Correction):
    """Pulls parameters towards where others are.

    Args:
        parameters: of the network; those that take no gradient in this round are left alone.
        towards: values of the same shapes, on the same device, in the same order.
        strength: mu of FedProx, lambda of Ditto.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], towards: Sequence[torch.Tensor], strength: float
    ) -> None:
        self._pairs = [pair for pair in zip(parameters, towards, strict=True) if pair[0].requires_grad]
        self._strength = strength

    @torch.no_grad()
    def correct(self) -> None:
        """Add the pull's gradient; it is part of what is minimised, and so of what is clipped."""
        for parameter, target in self._pairs:
            pull = self._strength * (parameter - target)
            parameter.grad = pull if parameter.grad is None else parameter.grad.add_(pull)


def values_of(parameters: Iterable[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Where ``parameters`` are now, apart from them."""
    return [parameter.detach().clone() for parameter in parameters]
