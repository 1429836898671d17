# SPDX-License-Identifier: Apache-2.0
"""How a network is trained: small factors beside a base model's layers, or every weight."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import ModulePath


class Lora(Model):
    """Low-rank adaptation (Hu et al., https://arxiv.org/abs/2106.09685).

    Attributes:
        rank: r, the inner dimension of each pair of factors.
        alpha: the update is scaled by alpha / rank.
        dropout: on the adapter's input while training.
        targets: names of the linear layers that are adapted, matched at the end of the layer's path.
    """

    rank: int = Field(ge=1, le=256)
    alpha: int = Field(ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[ModulePath, ...] = Field(min_length=1, max_length=32)


class Full(Model):
    """Every weight is trained."""


class Method(Model):
    """One way of training.

    Attributes:
        lora: low-rank adaptation of a base model.
        full: every weight of a base model or of a declared architecture.
    """

    lora: Lora | None = None
    full: Full | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.lora is None) == (self.full is None):
            raise ValueError("needs either `lora` or `full`, and not both")
        return self

    @property
    def name(self) -> str:
        """`lora` or `full`."""
        return "full" if self.lora is None else "lora"
