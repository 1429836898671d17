# SPDX-License-Identifier: Apache-2.0
"""How a network is trained: by little that is added to a base model, by some of its weights, or by every one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model, OneOf
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
        base_model_precision: how the base model is held in memory while its adapter is trained; `nf4` is that of QLoRA
            (https://arxiv.org/abs/2305.14314). What is trained, and leaves, is float32 in any case.
    """

    rank: int = Field(ge=1, le=256)
    minimum_rank: int | None = Field(default=None, ge=1, le=256)
    alpha: int = Field(ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[ModulePath, ...] = Field(min_length=1, max_length=32)
    rslora: bool = False
    dora: bool = False
    base_model_precision: Literal["float32", "bfloat16", "nf4"] = "float32"

    @model_validator(mode="after")
    def _rows_have_their_own_lengths(self) -> Self:
        if self.dora and self.base_model_precision != "float32":
            raise ValueError(
                f"may not have both `dora` and `base_model_precision: {self.base_model_precision}`: "
                "lengths are those of the rows as the base model's file has them"
            )
        return self

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


class Ia3(Model):
    """A factor for each value that a layer gives, or is given (Liu et al., https://arxiv.org/abs/2205.05638).

    Attributes:
        targets: names of the linear layers that are adapted, matched at the end of the layer's path.
        feedforward: those of them whose input is scaled instead of their output.
    """

    targets: tuple[ModulePath, ...] = Field(min_length=1, max_length=32)
    feedforward: tuple[ModulePath, ...] = Field(default=(), max_length=32)

    @model_validator(mode="after")
    def _are_targets(self) -> Self:
        for layer in self.feedforward:
            if layer not in self.targets:
                raise ValueError(f"names `{layer}` in `feedforward` and not in `targets`")
        return self


class Prompt(Model):
    """Embeddings of tokens that no text has, before each text (Lester et al., https://arxiv.org/abs/2104.08691).

    Attributes:
        tokens: how many; each text may be so many tokens shorter.
    """

    tokens: int = Field(ge=1, le=256)


class Prefix(Model):
    """Keys and values of such tokens, in every layer's attention (Li and Liang, https://arxiv.org/abs/2101.00190).

    Attributes:
        tokens: how many; each text may be so many tokens shorter.
    """

    tokens: int = Field(ge=1, le=256)


class BitFit(Model):
    """The base model's biases are trained, and nothing else of it (https://arxiv.org/abs/2106.10199)."""


class Full(Model):
    """Every weight is trained."""


class Method(OneOf):
    """One way of training; exactly one key.

    Attributes:
        lora: low-rank adaptation of a base model.
        ia3: factors for what some of a base model's layers give.
        prompt: embeddings before each text.
        prefix: keys and values before each text.
        bitfit: a base model's biases.
        full: every weight of a base model or of a declared architecture.
    """

    lora: Lora | None = None
    ia3: Ia3 | None = None
    prompt: Prompt | None = None
    prefix: Prefix | None = None
    bitfit: BitFit | None = None
    full: Full | None = None

    @property
    def part(self) -> Literal["adapter", "model"]:
        """What a policy calls that which is trained beside a head: what is added, or a network's own weights."""
        return "model" if self.name in ("bitfit", "full") else "adapter"

    @property
    def virtual_tokens(self) -> int:
        """How many tokens stand before each text that it does not have."""
        chosen = self.prompt or self.prefix
        return 0 if chosen is None else chosen.tokens

    def objections(self, *, base_model: bool, images: bool, packing: bool) -> Iterator[str]:
        """Why a job cannot train in this way, each reason a predicate in one sentence; none where it can.

        Args:
            base_model: whether it trains one.
            images: whether it reads images.
            packing: whether several texts stand in one row.
        """
        if not base_model and self.full is None:
            yield f"adapts a base model with `{self.name}`, and names none; say `full: {{}}`"
        if images and self.name in ("ia3", "prompt", "prefix"):
            yield f"may not train with `{self.name}` on images; it can with `lora`, `bitfit` and `full`"
        lora = self.lora
        if images and lora is not None:
            keys = {
                "dora": lora.dora,
                "minimum_rank": lora.minimum_rank is not None,
                "base_model_precision": lora.base_model_precision != "float32",
            }
            for key in (key for key, given in keys.items() if given):
                yield f"may not give `{key}` in `method.lora` on images; base models of text alone are trained so"
        if packing and self.virtual_tokens:
            yield (
                f"may not have both `packing` in `training` and `method.{self.name}`: "
                "texts that share a row would share the tokens before them"
            )
