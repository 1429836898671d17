# SPDX-License-Identifier: Apache-2.0
"""A federation whose sites hold, beside the notes of `tests.federation_folder`, a table of visits in numbers."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

from tests.federation_folder import SITES, Tree, change_document, make_federation, merged, write_document

STATISTICS_JOB, TABULAR_JOB = "visit-statistics", "visit-outcome"
DATASET = "visits"
MINIMUM_COUNT = 5
WARDS = ("east", "north", "south")
OUTCOMES = ("home", "moved")
BINS = {"low": 30.0, "high": 90.0, "count": 6}
EDGES = (30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
FEATURES = ("age", "ward", "smokes", "stay")

Visit = dict[str, str]


def visits_of(site: str, rows: int = 80) -> list[Visit]:
    """Invented visits: of the ward `south` so few that it may not be told how many, and no ages of some.

    Old people are moved, young ones go home, with a few exceptions, so that there is something to learn.
    """
    draw = random.Random(site)
    visits = []
    for number in range(rows):
        age = round(draw.uniform(32, 88), 1)
        visits.append(
            {
                "patient_id": f"{site}-P{number:04d}",
                "age": "" if number % 10 == 3 else str(age),
                "ward": "south" if number < 2 else draw.choice(WARDS[:2]),
                "smokes": draw.choice(("yes", "no")),
                "stay": str(draw.randint(1, 20)),
                "outcome": OUTCOMES[(age > 60) ^ (draw.random() < 0.05)],
            }
        )
    return visits


def write_visits(path: Path, visits: list[Visit]) -> None:
    """Write ``visits`` as the CSV file that the silo document declares."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(visits[0]))
        writer.writeheader()
        writer.writerows(visits)


def visits_dataset(site: str) -> Tree:
    """The dataset as the silo document of ``site`` declares it."""
    return {
        "connector": {"kind": "csv", "path": f"records/{site}-visits.csv"},
        "columns": {
            "patient_id": {"kind": "identifier"},
            "age": {"kind": "number", "minimum": 0, "maximum": 130, "unit": "a"},
            "ward": {"kind": "category", "values": list(WARDS)},
            "smokes": {"kind": "boolean"},
            "stay": {"kind": "integer", "minimum": 0},
            "outcome": {"kind": "category", "values": list(OUTCOMES)},
        },
        "person": "patient_id",
        "label": "outcome",
        "maximum_rejected_share": 0.2,
    }


def statistics_job() -> Tree:
    """Describe every feature, the ages in bins of ten years."""
    return {
        "job": STATISTICS_JOB,
        "purpose": "care-improvement",
        "task": "statistics",
        "dataset": {"name": DATASET, "features": list(FEATURES), "histograms": {"age": BINS}},
        "federation": {"sites": list(SITES), "minimum_sites": 2, "round_deadline_seconds": 120},
    }


def tabular_job() -> Tree:
    """A small network that finishes in seconds."""
    return {
        "job": TABULAR_JOB,
        "purpose": "care-improvement",
        "task": "tabular-classification",
        "architecture": {"mlp": {"hidden": [8]}},
        "dataset": {
            "name": DATASET,
            "features": list(FEATURES),
            "label": "outcome",
            "labels": list(OUTCOMES),
            "validation_share": 0.25,
        },
        "method": {"full": {}},
        "training": {"steps": 30, "batch_size": 16, "learning_rate": 0.02, "seed": 7},
        "federation": {"sites": list(SITES), "rounds": 2, "minimum_sites": 2, "round_deadline_seconds": 120},
        "select_by": {"metric": "auc"},
    }


def visits_policy() -> Tree:
    """What every site grants besides, laid over the default policy."""
    return {
        "datasets": {
            DATASET: {
                "columns": [*FEATURES, "outcome"],
                "minimum_records": 20,
                "minimum_validation_records": 5,
                "minimum_people": 10,
            }
        },
        "methods": {"full": {"networks": ["mlp"]}},
        "may_leave": {
            "tensors": ["adapter", "head", "model"],
            "metrics": ["accuracy", "macro_f1", "auc", "loss", "train_loss"],
            "statistics": {"minimum_count": MINIMUM_COUNT},
        },
    }


def make_tabular_federation(root: Path, policy: dict[str, Any] | None = None) -> Path:
    """The federation of `make_federation`, with visits at every site and two jobs on them.

    Args:
        root: folder to write into.
        policy: changes to every site's policy, over those that the visits need.

    Returns:
        ``root``.
    """
    make_federation(root, policy=merged(visits_policy(), policy))
    for site in SITES:
        change_document(root, f"silos/{site}.yaml", {"datasets": {DATASET: visits_dataset(site)}})
        write_visits(root / "records" / f"{site}-visits.csv", visits_of(site))
    for job in (statistics_job(), tabular_job()):
        write_document(root, f"jobs/{job['job']}.yaml", job)
    return root
