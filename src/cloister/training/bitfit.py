# SPDX-License-Identifier: Apache-2.0
"""BitFit: of a base model the biases are trained, and nothing else (https://arxiv.org/abs/2106.10199)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cloister.jobs.method_tensors import is_bias


def biases_alone(network: torch.nn.Module, is_head: Callable[[str], bool] = lambda _: False) -> torch.nn.Module:
    """``network``, frozen but for its biases and its head.

    Args:
        network: a base model.
        is_head: whether a parameter of this name is the head's.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_bias(name) or is_head(name))
    return network
