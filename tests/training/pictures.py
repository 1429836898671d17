# SPDX-License-Identifier: Apache-2.0
"""Views of made pictures and volumes, and MONAI bundles with weights drawn here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy

from cloister.jobs import AdapterLayout, Job, initial_adapter
from cloister.jobs.network_plan import NetworkPlan
from cloister.messages import Setup
from cloister.silos import ColumnKind

FINDINGS = ("clear", "shadow")
TISSUES = ("background", "ball")
KINDS = {
    "scan": ColumnKind.IMAGE,
    "outline": ColumnKind.IMAGE,
    "finding": ColumnKind.CATEGORY,
}
VIT = {
    "_target_": "monai.networks.nets.ViT",
    "spatial_dims": 2,
    "in_channels": 1,
    "img_size": [16, 16],
    "patch_size": [4, 4],
    "hidden_size": 16,
    "mlp_dim": 32,
    "num_layers": 2,
    "num_heads": 2,
    "classification": True,
    "num_classes": 2,
    "post_activation": "none",
}
UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
    "norm": "batch",
}


def job_of(task: str, network: dict[str, Any], size: tuple[int, ...], **more: Any) -> Job:
    """A job on images; ``network`` is an architecture, or empty for a base model."""
    segments = task == "image-segmentation"
    aim = {"mask": "outline", "labels": TISSUES} if segments else {"label": "finding", "labels": FINDINGS}
    base = {"name": "bundle", "sha256": "0" * 64, "licence": "apache-2.0"}
    document = {
        "job": "scans",
        "purpose": "research",
        "task": task,
        **({"architecture": network} if network else {"base_model": base}),
        "dataset": {"name": "scans", "image": "scan", **aim},
        "imaging": {"size": size, **more.pop("imaging", {})},
        "method": more.pop("method", {"full": {}}),
        "training": {"steps": 8, "batch_size": 4, "learning_rate": 5e-3, "seed": 3, **more},
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


CLASSIFIER = job_of("image-classification", {"densenet": {"features": 4, "growth": 4, "blocks": [1, 1]}}, (16, 16))
SEGMENTER = job_of("image-segmentation", {"unet": {"channels": [4, 8], "strides": [2]}}, (12, 12, 12))
TRANSFORMER = job_of(
    "image-classification", {"vit": {"width": 16, "layers": 2, "heads": 2, "feed_forward": 32}}, (16, 16)
)
UNETR = job_of(
    "image-segmentation",
    {"unetr": {"features": 4, "width": 12, "heads": 2, "feed_forward": 16}},
    (16, 16, 16),
)
DECLARED = {"densenet": CLASSIFIER, "vit": TRANSFORMER, "unet": SEGMENTER, "unetr": UNETR}


def save(path: Path, values: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] | None = None) -> str:
    """Write a NIfTI file; returns its name in the view."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(path)
    return f"{path.parent.name}/{path.name}"


def write_view(folder: Path, job: Job, train: int, validation: int, seed: int = 0) -> Path:
    """Pictures that are bright or dark in the middle, or volumes with a ball in them."""
    random = np.random.default_rng(seed)
    number = 0
    for side, count in (("train", train), ("validation", validation)):
        rows: dict[str, list[str]] = {name: [] for _, name, _ in job.dataset.columns}
        for index in range(count):
            number += 1
            made = _volume(random) if job.dataset.mask else _picture(random, shadow=bool(index % 2))
            rows["scan"].append(save(folder / "images" / f"{number:06}.nii", made[0]))
            if job.dataset.mask:
                rows["outline"].append(save(folder / "images" / f"m{number:05}.nii", made[1]))
            else:
                rows["finding"].append(FINDINGS[index % 2])
        write_rows(folder, side, rows)
    return folder


def write_rows(folder: Path, side: str, rows: dict[str, list[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array(cells, pa.string()) for name, cells in rows.items()}
    pyarrow.parquet.write_table(pa.table(columns), folder / f"{side}.parquet")


def _picture(random: np.random.Generator, *, shadow: bool) -> tuple[Any, Any]:
    values = random.normal(0, 0.3, (14, 18)).astype(np.float32)
    if shadow:
        values[4:10, 6:12] += 2
    return values, None


def _volume(random: np.random.Generator) -> tuple[Any, Any]:
    places = np.stack(np.meshgrid(*[np.arange(12)] * 3, indexing="ij"))
    centre = random.uniform(4, 8, (3, 1, 1, 1))
    ball = np.square(places - centre).sum(axis=0) < random.uniform(3, 4) ** 2
    return (2.0 * ball + random.normal(0, 0.3, ball.shape)).astype(np.float32), ball.astype(np.uint8)


def plan_of(job: Job, base_model: Path | None = None) -> NetworkPlan:
    from cloister.jobs.network_plan import network_plan_of

    return network_plan_of(job, None if base_model is None else str(base_model))


def layout(job: Job, base_model: Path | None = None) -> AdapterLayout:
    from cloister.training.network_layout import layout_of_network

    return layout_of_network(plan_of(job, base_model))


def setup_of(job: Job, view: Path, base_model: Path | None = None, **changes: Any) -> Setup:
    return Setup(
        view=str(view),
        base_model=None if base_model is None else str(base_model),
        task=job.task,
        dataset=job.dataset,
        columns={name: KINDS[name] for _, name, _ in job.dataset.columns},
        method=job.way,
        architecture=job.architecture,
        imaging=job.imaging,
        training=job.plan,
        rounds=job.federation.rounds,
        shapes=layout(job, base_model).shapes(),
        threads=1,
    ).model_copy(update=changes)


def first_weights(job: Job, base_model: Path | None = None) -> bytes:
    content: bytes = safetensors.numpy.save(initial_adapter(layout(job, base_model), job.seed))
    return content


def write_bundle(folder: Path, definition: dict[str, Any], file: str = "inference.json") -> Path:
    """A bundle with weights drawn at random."""
    import safetensors.torch
    import torch
    from monai.networks import nets

    torch.manual_seed(1)
    arguments = {key: value for key, value in definition.items() if key != "_target_"}
    network = getattr(nets, definition["_target_"].rpartition(".")[2])(**arguments)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_model(network, str(folder / "models" / "model.safetensors"))
    return write_configuration(folder, {"network_def": definition}, file)


def write_configuration(folder: Path, content: Any, file: str = "inference.json") -> Path:
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / file).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder
