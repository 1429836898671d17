# SPDX-License-Identifier: Apache-2.0
"""MONAI's networks for images, from a job's document or from a bundle.

Networks that a job declares normalise each image by itself: a batch's statistics would differ from site to site, and
would have to be exchanged. Where a bundle's network has such statistics, they stay as the bundle has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.networks import nets

from cloister.errors import TrainerError
from cloister.jobs.architecture import DenseNet, UNet, Unetr, Vit
from cloister.jobs.network_plan import NetworkPlan
from cloister.jobs.tasks import Task
from cloister.training.bundle import bundled_network, in_short


def network_for(plan: NetworkPlan, device: torch.device | None = None) -> torch.nn.Module:
    """The network of ``plan``, checked to take its images and to say as many numbers as there are classes.

    Args:
        plan: what to build.
        device: where; the CPU where not given. A bundle's network is built on the CPU in any case.

    Raises:
        TrainerError: where MONAI builds no such network, or it does not fit images and classes.
        RecordsError: where the bundle's weights are not safetensors.
    """
    if plan.base_model is not None:
        network = bundled_network(Path(plan.base_model))
    else:
        with device or torch.device("cpu"):
            network = _declared(plan)
    _keep_statistics(network)
    return network


def scores(network: Any, images: torch.Tensor) -> torch.Tensor:
    """What ``network`` says of ``images``, shape (n, classes) or (n, classes, x, y) or (n, classes, x, y, z), float32.

    Args:
        network: for images; MONAI's vision transformer also gives what its layers say, which is left out.
        images: shape (n, channels, x, y) or (n, channels, x, y, z).
    """
    said = network(images)
    first: torch.Tensor = said[0] if isinstance(said, tuple) else said
    return first.float()


def check_fit(network: torch.nn.Module, plan: NetworkPlan) -> None:
    """Check that ``network``, which is on the `meta` device, takes the plan's images and tells its classes apart.

    Raises:
        TrainerError: where it does not.
    """
    imaging = plan.imaging
    extent = " × ".join(str(size) for size in imaging.size)
    images = torch.zeros((2, imaging.channels, *imaging.size), device="meta")
    network.train()
    try:
        shape = tuple(scores(network, images).shape)
    except Exception as error:
        hint = "change `size` or `channels` in the job's `imaging`, or the network"
        sentence = f"the network cannot be given images of {extent} in {imaging.channels} channels: {in_short(error)}"
        raise TrainerError(sentence, hint=hint) from error
    wanted = (2, plan.classes) if plan.task is Task.IMAGE_CLASSIFICATION else (2, plan.classes, *imaging.size)
    if shape != wanted:
        raise TrainerError(
            f"the network says {shape[1:]} of an image, and the job's classes need {wanted[1:]}",
            hint="its output channels must be as many as `labels`",
        )


class SteadyStatistics(torch.nn.Module):
    """``network`` as it is trained: layers that keep statistics of batches use those that they have."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> SteadyStatistics:
        """Put the network into training mode, but for such layers."""
        super().train(mode)
        for module in self.network.modules():
            if getattr(module, "running_mean", None) is not None:
                module.train(False)
        return self

    def forward(self, images: torch.Tensor) -> Any:
        """What the network says."""
        return self.network(images)


def _keep_statistics(network: torch.nn.Module) -> None:
    """Take the statistics of batches out of what is exchanged."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer, persistent=False)


def _declared(plan: NetworkPlan) -> torch.nn.Module:
    said = None if plan.architecture is None else plan.architecture.network
    if not isinstance(said, UNet | DenseNet | Vit | Unetr):
        raise TrainerError(f"task {plan.task} needs a base model, or a network for images as `architecture`")
    if said.dimensions != len(plan.imaging.size):
        raise TrainerError(
            f"the job's network is for images of {said.dimensions} dimensions, and its `imaging` says "
            f"{len(plan.imaging.size)} in `size`"
        )
    try:
        return _build(said, plan)
    except Exception as error:
        raise TrainerError(f"MONAI builds no such network: {in_short(error)}") from error


def _build(said: UNet | DenseNet | Vit | Unetr, plan: NetworkPlan) -> torch.nn.Module:
    # Names are MONAI's; https://docs.monai.io/en/stable/networks.html
    common: dict[str, Any] = {"spatial_dims": said.dimensions, "in_channels": plan.imaging.channels}
    match said:
        case UNet():
            built = nets.UNet(
                **common,
                out_channels=plan.classes,
                channels=said.channels,
                strides=said.strides,
                num_res_units=said.residual_units,
                norm="instance",
            )
        case DenseNet():
            built = nets.DenseNet(
                **common,
                out_channels=plan.classes,
                init_features=said.features,
                growth_rate=said.growth,
                block_config=said.blocks,
                norm=("group", {"num_groups": 1}),
            )
        case Vit():
            built = nets.ViT(
                **common,
                img_size=plan.imaging.size,
                patch_size=said.patch,
                hidden_size=said.width,
                mlp_dim=said.feed_forward,
                num_layers=said.layers,
                num_heads=said.heads,
                classification=True,
                num_classes=plan.classes,
                post_activation="none",  # its default bounds the scores
            )
        case Unetr():
            built = nets.UNETR(
                **common,
                out_channels=plan.classes,
                img_size=plan.imaging.size,
                feature_size=said.features,
                hidden_size=said.width,
                mlp_dim=said.feed_forward,
                num_heads=said.heads,
                norm_name="instance",
            )
    network: torch.nn.Module = built
    return network
