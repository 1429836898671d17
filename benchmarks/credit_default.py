# SPDX-License-Identifier: Apache-2.0
"""Default of credit card clients over four banks with different clients: federated, pooled and alone.

Run it: .venv/bin/python benchmarks/credit_default.py [--seeds 5] [--rounds 20] [--steps 30] [--network mlp]

30,000 clients of one bank in Taiwan (Yeh and Lien, https://doi.org/10.1016/j.eswa.2007.12.020; UCI 350), laid out over
four: half of them by their credit limit, each quarter at a bank of its own, the others by chance. A fifth of each
bank's clients is for tests. The layout is the same for every seed. Runs in this process, see `in_process.py`.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from in_process import Site, job_of, parquet_dataset, study, table_of
from study_options import say, study_parser

from cloister.silos import Dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci_credit_default" / "UCI_Credit_Card.csv"
BANKS = ("alder", "birch", "cedar", "dogwood")
LABELS = ("pays", "defaults")

_INTEGER = {"kind": "integer"}
COLUMNS: dict[str, dict[str, Any]] = {
    "credit_limit": _INTEGER,
    "sex": {"kind": "category", "values": ["1", "2"]},
    "education": {"kind": "category", "values": [str(number) for number in range(7)]},
    "marriage": {"kind": "category", "values": ["0", "1", "2", "3"]},
    "age": _INTEGER,
    **{f"delay_{month}": _INTEGER for month in range(1, 7)},
    **{f"bill_{month}": _INTEGER for month in range(1, 7)},
    **{f"paid_{month}": _INTEGER for month in range(1, 7)},
}
"""The file's columns X1 to X23."""

NETWORKS = {
    "mlp": {"mlp": {"hidden": [64, 32], "dropout": 0.1}},
    "ft_transformer": {"ft_transformer": {"width": 16, "layers": 2, "heads": 4, "dropout": 0.1}},
}


def main() -> None:
    parser = study_parser(__doc__, seeds=5, rounds=20, steps=30, batch=256, rate=0.001)
    parser.add_argument("--network", choices=sorted(NETWORKS), default="mlp")
    options = parser.parse_args()
    if not DATA.is_file():
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    job = job_of(
        {
            "job": "credit-default",
            "purpose": "research",
            "task": "tabular-classification",
            "architecture": NETWORKS[options.network],
            "dataset": {
                "name": "card-clients",
                "features": list(COLUMNS),
                "label": "next_month",
                "labels": LABELS,
                "validation_share": 0.1,
            },
            "method": {"full": {}},
            "training": {"steps": options.steps, "batch_size": options.batch, "learning_rate": options.rate},
            "federation": {"rounds": options.rounds},
            "select_by": {"metric": "auc"},
        }
    )
    with tempfile.TemporaryDirectory(prefix="credit-default-") as name:
        sites = _sites(Path(name))
        runs = study(
            job, sites, root=Path(name), seeds=range(options.seeds), ways=options.ways, minimum_count=10, say=say
        )
    for metric in ("auc", "accuracy"):
        print(f"\n{table_of(runs, metric)}")
    print("\nvalidation AUC by way:")
    for way in runs[0].validated:
        print(f"  {way}: {np.mean([run.validated[way] for run in runs]):.4f}")


def _sites(root: Path) -> dict[str, Site]:
    with DATA.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    random = np.random.default_rng(350)
    limits = np.array([float(row["X1"]) for row in rows]) + random.random(len(rows))  # many are equal
    quarter = np.argsort(np.argsort(limits)) * len(BANKS) // len(rows)
    bank = np.where(random.random(len(rows)) < 0.5, quarter, random.integers(0, len(BANKS), len(rows)))
    is_test = random.random(len(rows)) < 0.2
    sites = {}
    for number, name in enumerate(BANKS):
        parts = [[rows[i] for i in np.flatnonzero((bank == number) & (is_test == side))] for side in (False, True)]
        share = np.mean([row["Y"] == "1" for row in parts[0]])
        say(f"{name}: {len(parts[0])} training, {len(parts[1])} test records, {share:.1%} default")
        files = (root / f"{name}-training.parquet", root / f"{name}-test.parquet")
        sites[name] = Site(*(_dataset(file, part) for file, part in zip(files, parts, strict=True)))
    return sites


def _dataset(path: Path, rows: list[dict[str, str]]) -> Dataset:
    cells: dict[str, list[Any]] = {}
    for number, (name, column) in enumerate(COLUMNS.items(), start=1):
        words = [row[f"X{number}"] for row in rows]
        cells[name] = words if column["kind"] == "category" else [int(float(word)) for word in words]
    cells["next_month"] = [LABELS[row["Y"] == "1"] for row in rows]
    return parquet_dataset(path, pa.table(cells), {**COLUMNS, "next_month": {"kind": "category", "values": LABELS}})


if __name__ == "__main__":
    main()
