# SPDX-License-Identifier: Apache-2.0
"""A job with training code of its own, simulated: it sees one view at a time, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.jobs.code import read_code
from tests.federation_folder import OFFICER, SITES, change_document
from tests.simulation.simulated import comparable, plan_of, simulated
from tests.tabular_federation import TABULAR_JOB, make_tabular_federation

pytestmark = pytest.mark.slow

FOLDER = "code/nosy"

# Tells by its loss what it could find of others: views beside its own, and what it left at an earlier visit.
TRAINER = """
import os
import pathlib

from cloister.training.tabular import TabularTrainer

SEEN = set()


class Trainer(TabularTrainer):
    def __init__(self, setup):
        super().__init__(setup)
        SEEN.add(len(self.training))
        self.views = len(list(pathlib.Path("/view").rglob("*.parquet"))) // 2

    def evaluate(self):
        found = os.path.exists("/tmp/left")
        pathlib.Path("/tmp/left").touch()
        return {**super().evaluate(), "loss": 1.0 * (len(SEEN) + self.views + found)}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_tabular_federation(tmp_path / "federation").resolve()
    folder = root / FOLDER
    folder.mkdir(parents=True)
    (folder / "trainer.py").write_text(TRAINER)
    change_document(root, f"jobs/{TABULAR_JOB}.yaml", {"code": FOLDER})
    approved = [{"sha256": read_code(folder).digest, "by": OFFICER, "until": "2099-12-31"}]
    for policy in ("baseline", *SITES):
        change_document(root, f"policies/{policy}.yaml", {"code": {"approved": approved}})
    return root


def test_code_that_a_job_brings_sees_one_view_and_remembers_nothing(root: Path) -> None:
    code = read_code(root / FOLDER)
    result = comparable(simulated(plan_of(root, TABULAR_JOB, 2, workers=1, code=code)))
    told = [entry["before_by_site"][site]["loss"] for entry in result["history"] for site in result["sites"]]
    assert set(told) == {2.0}, "one number of records, one view, nothing left"
