# SPDX-License-Identifier: Apache-2.0
"""Which of a job's tensors are trained and sent in a round: all, or all but one of the two low-rank factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from cloister.jobs.adapter import AdapterLayout
from cloister.jobs.aggregation import FactorRule

Factor = Literal["a", "b"]
"""A is the factor that the input meets first (`lora_A`), B the other (`lora_B`)."""

_ENDINGS = {"a": ".lora_A.weight", "b": ".lora_B.weight"}


def frozen_factor(rule: FactorRule | None, number: int) -> Factor | None:
    """The factor that stays as it is in round ``number``, from 1; None where both are trained.

    FFA-LoRA (https://arxiv.org/abs/2403.12313) and FedSVD (https://arxiv.org/abs/2505.12805) train B alone. RoLoRA
    (https://arxiv.org/abs/2502.01755) trains B in odd rounds and A in even ones.
    """
    if rule in ("ffa-lora", "fedsvd"):
        return "a"
    if rule == "rolora":
        return "a" if number % 2 else "b"
    return None


def live_layout(layout: AdapterLayout, frozen: Factor | None) -> AdapterLayout:
    """``layout`` without the tensors of the factor that is ``frozen``."""
    if frozen is None:
        return layout
    ending = _ENDINGS[frozen]
    return replace(layout, tensors=tuple(tensor for tensor in layout.tensors if not tensor.name.endswith(ending)))
