# SPDX-License-Identifier: Apache-2.0
"""Hippocampus segmentation in MRI over three sites: federated, pooled and alone, by Dice.

Run it: .venv/bin/python benchmarks/hippocampus.py [--seeds 3] [--rounds 30] [--steps 15]

Sixty volumes of the Medical Segmentation Decathlon's Task04 (CC BY-SA 4.0) come from one hospital; here they are dealt
to three sites of twenty, fourteen to train on and six to test on, the same for every seed. Masks mark the anterior and
the posterior part. A small residual U-Net, from weights that are drawn. Runs in this process, see `in_process.py`.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
from pathlib import Path

from in_process import Site, job_of, study, table_of
from study_options import say, study_parser

from cloister.jobs import AdapterLayout, Job
from cloister.jobs.network_plan import network_plan_of
from cloister.silos import Dataset
from cloister.training.network_layout import layout_of_network

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "msd_hippocampus_60"
SITES = ("north", "middle", "south")
TEST_SHARE = 0.3


def main() -> None:
    options = study_parser(__doc__, seeds=3, rounds=30, steps=15, batch=2, rate=5e-3).parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"needs {DATA}")
    job = job_of(
        {
            "job": "hippocampus",
            "purpose": "research",
            "task": "image-segmentation",
            "architecture": {"unet": {"channels": [8, 16, 32], "strides": [2, 2], "residual_units": 1}},
            "dataset": {
                "name": "volumes",
                "image": "volume",
                "mask": "mask",
                "labels": ["background", "anterior", "posterior"],
                "validation_share": 0.2,
            },
            "imaging": {"size": [36, 52, 36], "spacing": [1, 1, 1]},
            "method": {"full": {}},
            "training": {"steps": options.steps, "batch_size": options.batch, "learning_rate": options.rate},
            "federation": {"rounds": options.rounds},
        }
    )
    with tempfile.TemporaryDirectory(prefix="hippocampus-") as name:
        root = Path(name)
        sites = _sites(root)
        runs = study(
            job, sites, root=root, seeds=range(options.seeds), layout=network_layout, ways=options.ways, say=say
        )
    print(f"\n{table_of(runs, 'dice')}")


def network_layout(job: Job) -> AdapterLayout:
    """The tensors of a job on images, as the sandboxed process tells them."""
    return layout_of_network(network_plan_of(job, None))


def _sites(root: Path) -> dict[str, Site]:
    files = sorted(path.name for path in (DATA / "imagesTr").glob("*.nii.gz"))
    random.Random(4).shuffle(files)
    sites = {}
    for number, site in enumerate(SITES):
        own = files[number :: len(SITES)]
        tested = round(len(own) * TEST_SHARE)
        say(f"{site}: {len(own) - tested} volumes to train on, {tested} to test on")
        sites[site] = Site(
            _dataset(root / f"{site}.csv", own[tested:]), _dataset(root / f"{site}-test.csv", own[:tested])
        )
    return sites


def _dataset(table: Path, files: list[str]) -> Dataset:
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["volume", "mask"])
        writer.writerows([f"imagesTr/{file}", f"labelsTr/{file}"] for file in files)
    connector = {"kind": "nifti", "path": str(DATA), "table": str(table)}
    columns = {"volume": {"kind": "image"}, "mask": {"kind": "image"}}
    return Dataset.model_validate_json(json.dumps({"connector": connector, "columns": columns}))


if __name__ == "__main__":
    main()
