# SPDX-License-Identifier: Apache-2.0
"""How a network is trained: small factors beside a base model's layers, or every weight."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import ModulePath


class Lora(Model):
    """Low-rank adaptation (Hu et al., https://arxiv.org/abs/2106.09685).

    Attributes:
        rank: r, the inner dimension of each pair of factors.
        minimum_rank: a site whose policy grants less than `rank` takes part with what it grants, if that is no less
            than this; not where not given.
        alpha: the update is scaled by alpha / rank.
        dropout: on the adapter's input while training.
        targets: names of the linear layers that are adapted, matched at the end of the layer's path.
        rslora: whether the update is scaled by alpha / sqrt(rank) instead (https://arxiv.org/abs/2312.03732).
        dora: whether the length of each row of an adapted weight is trained beside its direction
            (https://arxiv.org/abs/2402.09353).
    """

    rank: int = Field(ge=1, le=256)
    minimum_rank: int | None = Field(default=None, ge=1, le=256)
    alpha: int = Field(ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[ModulePath, ...] = Field(min_length=1, max_length=32)
    rslora: bool = False
    dora: bool = False

    @model_validator(mode="after")
    def _ranks_in_order(self) -> Self:
        if self.minimum_rank is not None and self.minimum_rank > self.rank:
            raise ValueError(f"has a `minimum_rank` of {self.minimum_rank}, above its `rank` of {self.rank}")
        return self

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that are chosen, as policies name them."""
        return tuple(name for name in ("rslora", "dora") if getattr(self, name))

    def alpha_at(self, rank: int) -> float:
        """The alpha that scales the update of factors of ``rank`` as this job's of its own rank are scaled.

        So that what a site with a lower rank has learnt counts as much: alpha / rank, or alpha / sqrt(rank) where
        `rslora` is chosen, is the same for all.
        """
        share = rank / self.rank
        return self.alpha * (math.sqrt(share) if self.rslora else share)


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
