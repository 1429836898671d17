# SPDX-License-Identifier: Apache-2.0
"""The null job on Cloister: everything that a job passes, and a trainer of the job's own that adds one to ten numbers.

Records are read, the governed view is written, features are described over all sites, the trainer runs in the sandbox,
policies decide in every round what may leave, and the log of decisions is written; only the training is nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.run import POLL_SECONDS, Run
from tests.federation_folder import (
    OFFICER,
    PERSON,
    change_document,
    make_federation,
    merged,
    records_of,
    write_document,
)
from tests.tabular_federation import DATASET, tabular_job, visits_dataset, visits_of, visits_policy, write_visits

from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.jobs.code import code_of, read_code
from cloister.repository import load_repository
from cloister.roster import Federation

JOB, CODE = "null", "code/null"
TRAINER = """
import sys
import time

from safetensors.numpy import load, save

from cloister.training.interface import Round


class Trainer:
    def __init__(self, setup):
        self.values = {}

    def load_adapter(self, blob):
        self.values = load(blob)

    def adapter(self):
        return save(self.values)

    def evaluate(self):
        return {"loss": 1.0}

    def train(self, number, report):
        print("began", number, time.time(), file=sys.stderr, flush=True)
        self.values = {name: values + 1 for name, values in self.values.items()}
        report(1, 1)
        return Round(1.0, 10)
"""
_BEGAN = re.compile(r"\bbegan (\d+) ([0-9.]+)$", re.MULTILINE)


def cloister_null(root: Path, rounds: int, sites: tuple[str, ...]) -> Run:
    """Make a federation in ``root``, run the job once, and take the federation down."""
    federation(root, rounds, sites)
    program = str(Path(sys.executable).with_name("cloister"))

    def type_in(*command: str) -> None:
        subprocess.run([program, *command], cwd=root, check=True, stdout=subprocess.DEVNULL)

    for command in (["provision"], ["policy", "sign", "--untested"], ["up"]):
        type_in(*command)
    try:
        submitted, finished = run(root, sites)
    finally:
        type_in("down")
    starts: dict[int, list[float]] = {}
    for log in root.glob(".cloister/sites/*/*/private/trainer.log"):
        for number, begun in _BEGAN.findall(log.read_text()):
            starts.setdefault(int(number), []).append(float(begun))
    return Run(starts, submitted, finished)


def federation(root: Path, rounds: int, sites: tuple[str, ...]) -> None:
    """Write its documents, its records and its code."""
    folder = root / CODE
    folder.mkdir(parents=True)
    (folder / "trainer.py").write_text(TRAINER)
    approved = [{"sha256": read_code(folder).digest, "by": OFFICER, "until": "2099-01-01"}]
    policy = merged(
        visits_policy(),
        {"training": {"maximum_rounds": 1000}, "code": {"approved": approved}},
    )
    make_federation(root, sites={site: records_of(site) for site in sites}, policy=policy)
    for site in sites:
        dataset = visits_dataset(site) | {"label": "age"}
        change_document(root, f"silos/{site}.yaml", {"datasets": {DATASET: dataset}})
        write_visits(root / "records" / f"{site}-visits.csv", visits_of(site))
    # One feature and a hidden layer of three: ten numbers.
    changes = {
        "job": JOB,
        "task": "tabular-regression",
        "architecture": {"mlp": {"hidden": [3]}},
        "dataset": {"features": ["stay"], "label": None, "labels": None, "target": "age"},
        "training": {"steps": 1},
        "federation": {"sites": list(sites), "rounds": rounds, "minimum_sites": len(sites)},
        "select_by": {"metric": "loss"},
        "code": CODE,
    }
    write_document(root, f"jobs/{JOB}.yaml", merged(tabular_job(), changes))


def run(root: Path, sites: tuple[str, ...]) -> tuple[float, float]:
    """When the job was submitted, and when it was known to be finished."""
    document = load_repository(root).jobs[JOB]
    code = code_of(root, document.value)
    roster = load(root / "provisioning" / "federation.yaml", Federation).value
    with connect(LocalFederation(root, roster).state.person(PERSON), PERSON) as session:
        job_id = session.submit(document, list(sites), code=code)
        submitted = time.time()
        while not (view := session.job(job_id)).finished:
            time.sleep(POLL_SECONDS)
        finished = time.time()
    if not view.completed:
        raise SystemExit(f"Cloister's job ended with {view.status}: {json.dumps(view.progress)}")
    return submitted, finished
