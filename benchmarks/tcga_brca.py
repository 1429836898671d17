# SPDX-License-Identifier: Apache-2.0
"""Survival with breast cancer (TCGA-BRCA) over six regions: federated, pooled and alone, beside FLamby's figures.

Run it: .venv/bin/python benchmarks/tcga_brca.py [--seeds 5] [--rounds 20] [--steps 20]

Records, regions and the split into training and test as FLamby has them (https://arxiv.org/abs/2210.04620;
`fed_tcga_brca` in https://github.com/owkin/FLamby): 39 features, a linear Cox model, Harrell's c-index. What differs:
age is standardised, over all regions and under a minimum count, and the other features, all 0 or 1, are truth values;
ties are Efron's; a fifth of the training records is kept to choose the round by. Runs in this process, see
`in_process.py`. Where lifelines is installed, its c-index is compared with ours.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from in_process import Site, job_of, parquet_dataset, study, table_of
from study_options import say, study_parser

from cloister.silos import Dataset
from cloister.training.metrics import c_index

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "tcga_brca_6centers"
REGIONS = ("northeast", "south", "west", "midwest", "europe", "canada")
"""FLamby's centres 0 to 5, in the order of its description."""

Rows = list[dict[str, str]]


def main() -> None:
    parser = study_parser(__doc__, seeds=5, rounds=20, steps=20, batch=64, rate=0.003)
    parser.add_argument("--share", type=float, default=0.2)
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    rows, folds = _read()
    names = {feature: re.sub(r"[^A-Za-z0-9]+", "_", feature).strip("_") for feature in list(rows[0])[1:40]}
    job = job_of(
        {
            "job": "breast-cancer-survival",
            "purpose": "research",
            "task": "survival",
            "architecture": {"mlp": {}},
            "dataset": {
                "name": "follow-up",
                "features": list(names.values()),
                "time": "days",
                "event": "died",
                "validation_share": options.share,
            },
            "method": {"full": {}},
            "training": {"steps": options.steps, "batch_size": options.batch, "learning_rate": options.rate},
            "federation": {"rounds": options.rounds},
            "select_by": {"metric": "loss"},
        }
    )
    with tempfile.TemporaryDirectory(prefix="tcga-brca-") as name:
        root = Path(name)
        sites = {}
        for number, region in enumerate(REGIONS):
            parts = [[row for row in rows if folds.get(row["pid"]) == f"{side}_{number}"] for side in ("train", "test")]
            say(f"{region}: {len(parts[0])} training, {len(parts[1])} test records")
            files = (root / f"{region}-training.parquet", root / f"{region}-test.parquet")
            sites[region] = Site(*(_dataset(file, part, names) for file, part in zip(files, parts, strict=True)))
        runs = study(job, sites, root=root, seeds=range(options.seeds), ways=options.ways, say=say)
    print(f"\n{table_of(runs, 'c_index')}")
    print("\nvalidation loss by way:")
    for way in runs[0].validated:
        print(f"  {way}: {np.nanmean([run.validated[way] for run in runs]):.4f}")
    _beside_lifelines(rows)


def _read() -> tuple[Rows, dict[str, str]]:
    with (DATA / "brca.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (DATA / "train_test_split.csv").open(newline="") as stream:
        folds = {row["pid"]: row["fold2"] for row in csv.DictReader(stream)}
    return rows, folds


def _dataset(path: Path, rows: Rows, names: dict[str, str]) -> Dataset:
    kinds = {name: "number" if name.startswith("age") else "boolean" for name in names.values()}
    cells: dict[str, list[Any]] = {
        name: [float(row[feature]) if kinds[name] == "number" else float(row[feature]) > 0 for row in rows]
        for feature, name in names.items()
    }
    cells["days"], cells["died"] = [float(row["T"]) for row in rows], [float(row["E"]) > 0 for row in rows]
    columns = {name: {"kind": kind} for name, kind in {**kinds, "days": "number", "died": "boolean"}.items()}
    return parquet_dataset(path, pa.table(cells), columns)


def _beside_lifelines(rows: Rows) -> None:
    """Our c-index beside lifelines' on all records, with age as the risk: many ties in times and in risks."""
    if importlib.util.find_spec("lifelines") is None:
        print("\nlifelines is not installed, and was not compared with")
        return
    from lifelines.utils import concordance_index  # noqa: PLC0415

    times, events = (np.array([float(row[key]) for row in rows]) for key in ("T", "E"))
    risks = np.array([float(row["age_at_index"]) for row in rows])
    ours, theirs = c_index(times, events > 0, risks), concordance_index(times, -risks, events)
    print(f"\nc-index of age: ours {ours:.12f}, lifelines' {theirs:.12f}")


if __name__ == "__main__":
    main()
