# SPDX-License-Identifier: Apache-2.0
"""Real texts: the test part of the Medical Abstracts corpus, five conditions, laid out over three skewed sites.

Schopf, Braun, Matthes: Evaluating Unsupervised Text Classification (https://arxiv.org/abs/2211.16285), CC BY-SA 3.0.
The file is read where it lies beside the project; nothing of it is copied into the project.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.federation_folder import JOB, Tree, make_federation

CONDITIONS = ("neoplasms", "digestive", "nervous", "cardiovascular", "general")
"""The corpus's classes 1 to 5, in its order."""

SHARES = {
    "alpha": (0.70, 0.10, 0.20, 0.10, 0.33),
    "beta": (0.20, 0.70, 0.10, 0.20, 0.33),
    "gamma": (0.10, 0.20, 0.70, 0.70, 0.34),
}
"""Which share of each condition's abstracts a site holds."""

Records = list[tuple[str, str]]


def find() -> Path | None:
    """The corpus's file, if the folder of real data lies beside the project."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "medical_abstracts" / "medical_tc_test.csv"
    return path if path.is_file() else None


def read(limit: int | None = None) -> Records:
    """Abstracts with their condition, in the file's order; skips the calling test where they are not there."""
    path = find()
    if path is None:
        pytest.skip("the folder `shared/data` with real records does not lie beside the project")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))[:limit]
    return [(row["medical_abstract"], CONDITIONS[int(row["condition_label"]) - 1]) for row in rows]


def split(records: Sequence[tuple[str, str]], seed: int, test_share: float = 0.2) -> tuple[dict[str, Records], Records]:
    """Records by site, and test records that no site holds; both keep the corpus's mix of conditions over all.

    Abstracts that occur twice with different conditions, of which the corpus has some, stay on one side.
    """
    draw = random.Random(seed)
    by_text: dict[str, Records] = {}
    for text, label in records:
        by_text.setdefault(text, []).append((text, label))
    sites: dict[str, Records] = {site: [] for site in SHARES}
    test: Records = []
    for index, condition in enumerate(CONDITIONS):
        group = [found for found in by_text.values() if found[0][1] == condition]
        draw.shuffle(group)
        held_out = round(len(group) * test_share)
        test += [record for found in group[:held_out] for record in found]
        rest, start = group[held_out:], 0
        for number, site in enumerate(SHARES):
            last = number == len(SHARES) - 1
            end = len(rest) if last else start + round(len(rest) * SHARES[site][index])
            sites[site] += [record for found in rest[start:end] for record in found]
            start = end
    return sites, test


def job_changes(*, rounds: int, steps: int, seed: int, tokens: int = 128, batch: int = 16) -> Tree:
    """What a job that learns the conditions says otherwise than the default one."""
    return {
        "dataset": {"labels": list(CONDITIONS), "validation_share": 0.1},
        "method": {"lora": {"rank": 8, "alpha": 16, "targets": ["query", "value"]}},
        "training": {"steps": steps, "batch_size": batch, "learning_rate": 0.002, "head_learning_rate": 0.002,
                     "maximum_tokens": tokens, "seed": seed},
        "federation": {"rounds": rounds, "minimum_sites": 2, "round_deadline_seconds": 1800},
    }  # fmt: skip


def federation(root: Path, sites: dict[str, Records], *, rounds: int, steps: int, seed: int, tokens: int = 128) -> Path:
    """A federation of three sites that hold abstracts, with a job that learns the conditions."""
    job = job_changes(rounds=rounds, steps=steps, seed=seed, tokens=tokens)
    columns = {"triage": {"values": list(CONDITIONS)}, "note": {"maximum_characters": 20_000}}
    silo = {"datasets": {"clinical-notes": {"columns": columns}}, "capacity": {"round_seconds": 1800}}
    policy = {"training": {"maximum_rounds": 100, "maximum_steps_per_round": 100}}
    return make_federation(root, sites=sites, job=job, silo=silo, policy=policy)


__all__ = ["CONDITIONS", "JOB", "federation", "find", "job_changes", "read", "split"]
