# SPDX-License-Identifier: Apache-2.0
"""A small network that a job declares in numbers; its first weights are drawn by the server, from the job's seed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model, OneOf

Width = Annotated[int, Field(ge=1, le=4096)]


class Mlp(Model):
    """Layers of linear maps with ReLU between them; with no hidden layer a linear model, or logistic regression.

    Attributes:
        hidden: width of each hidden layer.
        dropout: after each hidden layer while training.
    """

    hidden: tuple[Width, ...] = Field(default=(), max_length=8)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class FtTransformer(Model):
    """A transformer over columns (Gorishniy et al., https://arxiv.org/abs/2106.11959, section 3.3).

    Attributes:
        width: of each column's token; a multiple of `heads`.
        layers: transformer blocks.
        heads: of attention.
        dropout: in attention and feed-forward layers while training.
    """

    width: int = Field(default=32, ge=4, le=512)
    layers: int = Field(default=2, ge=1, le=8)
    heads: int = Field(default=4, ge=1, le=16)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"has a width of {self.width}, which {self.heads} heads cannot share")
        return self


class UNet(Model):
    """MONAI's residual U-Net (Kerfoot et al., https://doi.org/10.1007/978-3-030-12029-0_40), with instance norm.

    Attributes:
        dimensions: of the images, 2 or 3.
        channels: of each level.
        strides: between levels, one fewer than levels.
        residual_units: convolutions in each level's residual unit.
    """

    dimensions: Literal[2, 3] = 3
    channels: tuple[Width, ...] = Field(default=(8, 16, 32), min_length=2, max_length=7)
    strides: tuple[Annotated[int, Field(ge=1, le=4)], ...] = Field(default=(2, 2), min_length=1, max_length=6)
    residual_units: int = Field(default=1, ge=0, le=4)

    @model_validator(mode="after")
    def _a_stride_between_levels(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"has {len(self.channels)} levels and needs {len(self.channels) - 1} strides")
        return self


class DenseNet(Model):
    """MONAI's DenseNet (Huang et al., https://arxiv.org/abs/1608.06993), with group norm of one group.

    Group norm (Wu and He, https://arxiv.org/abs/1803.08494) keeps what tells one image from another in the mean over
    its pixels, which is all that the last layer is given; instance norm would take most of that away.

    Attributes:
        dimensions: of the images, 2 or 3.
        features: of the first convolution.
        growth: features that each layer adds.
        blocks: layers of each block.
    """

    dimensions: Literal[2, 3] = 2
    features: Width = 16
    growth: int = Field(default=8, ge=1, le=256)
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(default=(2, 2, 2), min_length=1, max_length=6)


class Vit(Model):
    """MONAI's vision transformer (Dosovitskiy et al., https://arxiv.org/abs/2010.11929).

    Attributes:
        dimensions: of the images, 2 or 3.
        patch: edge of a patch, in pixels.
        width: of a token; a multiple of `heads`.
        layers: transformer blocks.
        heads: of attention.
        feed_forward: width of the feed-forward layers.
    """

    dimensions: Literal[2, 3] = 2
    patch: int = Field(default=4, ge=1, le=64)
    width: int = Field(default=64, ge=4, le=2048)
    layers: int = Field(default=4, ge=1, le=48)
    heads: int = Field(default=4, ge=1, le=32)
    feed_forward: int = Field(default=128, ge=4, le=8192)


class Unetr(Model):
    """MONAI's UNETR (Hatamizadeh et al., https://arxiv.org/abs/2103.10504), with instance norm.

    Attributes:
        dimensions: of the images, 2 or 3.
        features: of the first convolution.
        width: of a token; a multiple of `heads`.
        heads: of attention.
        feed_forward: width of the feed-forward layers.
    """

    dimensions: Literal[2, 3] = 3
    features: Width = 8
    width: int = Field(default=96, ge=4, le=2048)
    heads: int = Field(default=4, ge=1, le=32)
    feed_forward: int = Field(default=192, ge=4, le=8192)


class Architecture(OneOf):
    """Exactly one network."""

    mlp: Mlp | None = None
    ft_transformer: FtTransformer | None = None
    unet: UNet | None = None
    densenet: DenseNet | None = None
    vit: Vit | None = None
    unetr: Unetr | None = None

    @property
    def network(self) -> Mlp | FtTransformer | UNet | DenseNet | Vit | Unetr:
        """What is said of it."""
        found: Mlp | FtTransformer | UNet | DenseNet | Vit | Unetr = getattr(self, self.name)
        return found
