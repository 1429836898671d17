# SPDX-License-Identifier: Apache-2.0
"""UCI heart disease at the four hospitals that collected it: federated, pooled and alone, beside FLamby's figures.

Run it: .venv/bin/python benchmarks/heart_disease.py [--seeds 5] [--rounds 40] [--steps 50]

Records as FLamby takes them (https://arxiv.org/abs/2210.04620; `fed_heart_disease` in https://github.com/owkin/FLamby):
the ten features that all hospitals collected, complete rows alone (740), any narrowing counts as disease, two thirds of
each hospital's rows for training, drawn by scikit-learn with FLamby's seed and stratified where it stratifies; a
logistic regression. What differs: features are standardised, over all hospitals and under a minimum count; a tenth of
the training rows is kept to choose the round by. Runs in this process, see `in_process.py`.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from in_process import Site, by_site, job_of, parquet_dataset, study, table_of
from sklearn.model_selection import train_test_split
from study_options import say, study_parser

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci_heart_disease"
HOSPITALS = {"cleveland": "cleveland", "budapest": "hungarian", "zurich-basel": "switzerland", "long-beach": "va"}

_NUMBER, _BOOLEAN = {"kind": "number"}, {"kind": "boolean"}
COLUMNS: dict[str, dict[str, Any]] = {
    "age": {**_NUMBER, "unit": "a"},
    "male": _BOOLEAN,
    "chest_pain": {"kind": "category", "values": ["1", "2", "3", "4"]},
    "resting_pressure": {**_NUMBER, "unit": "mm[Hg]"},
    "cholesterol": {**_NUMBER, "unit": "mg/dL"},
    "high_sugar": _BOOLEAN,
    "resting_ecg": {"kind": "category", "values": ["0", "1", "2"]},
    "highest_rate": {**_NUMBER, "unit": "/min"},
    "angina": _BOOLEAN,
    "st_depression": {**_NUMBER, "unit": "mm"},
}
"""The file's first ten columns; the next three are missing at most hospitals, the last is the diagnosis."""

LABELS = ("healthy", "disease")


def main() -> None:
    options = study_parser(__doc__, seeds=5, rounds=40, steps=50, batch=4, rate=0.001).parse_args()
    if not DATA.is_dir():
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    job = job_of(
        {
            "job": "heart-disease",
            "purpose": "research",
            "task": "tabular-classification",
            "architecture": {"mlp": {}},
            "dataset": {
                "name": "angiographies",
                "features": list(COLUMNS),
                "label": "diagnosis",
                "labels": LABELS,
                "validation_share": 0.1,
            },
            "method": {"full": {}},
            "training": {"steps": options.steps, "batch_size": options.batch, "learning_rate": options.rate},
            "federation": {"rounds": options.rounds},
            "select_by": {"metric": "loss"},
        }
    )
    with tempfile.TemporaryDirectory(prefix="heart-disease-") as name:
        root = Path(name)
        sites = {hospital: _site(root, hospital, file) for hospital, file in HOSPITALS.items()}
        runs = study(job, sites, root=root, seeds=range(options.seeds), ways=options.ways, say=say)
    for metric in ("accuracy", "auc"):
        print(f"\n{table_of(runs, metric)}")
    print(f"\n{by_site(runs, 'accuracy')}")
    print("\nvalidation loss by way:")
    for way in runs[0].validated:
        print(f"  {way}: {sum(run.validated[way] for run in runs) / len(runs):.4f}")


def _site(root: Path, hospital: str, file: str) -> Site:
    with (DATA / f"processed.{file}.data").open(newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    rows = [row for row in rows if "?" not in (*row[:10], row[13])]
    ill = [float(row[13]) > 0 for row in rows]
    # As FLamby: not stratified where a class has two rows or fewer, which is so in Switzerland.
    stratify = ill if min(ill.count(True), ill.count(False)) > 2 else None
    split = train_test_split(range(len(rows)), test_size=0.34, train_size=0.66, random_state=43, stratify=stratify)
    print(f"{hospital}: {len(split[0])} training, {len(split[1])} test records", flush=True)
    return Site(*(_dataset(root / f"{hospital}-{n}.parquet", [rows[i] for i in part]) for n, part in enumerate(split)))


def _dataset(path: Path, rows: list[list[str]]) -> Any:
    cells: dict[str, list[Any]] = {name: [float(row[index]) for row in rows] for index, name in enumerate(COLUMNS)}
    for name, column in COLUMNS.items():
        if column["kind"] == "boolean":
            cells[name] = [cell > 0 for cell in cells[name]]
        elif column["kind"] == "category":
            cells[name] = [str(int(cell)) for cell in cells[name]]
    cells["diagnosis"] = [LABELS[float(row[13]) > 0] for row in rows]
    columns = {**COLUMNS, "diagnosis": {"kind": "category", "values": LABELS}}
    return parquet_dataset(path, pa.table(cells), columns)


if __name__ == "__main__":
    main()
