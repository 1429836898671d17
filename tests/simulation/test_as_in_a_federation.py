# SPDX-License-Identifier: Apache-2.0
"""The same jobs in a federation of real processes over mutual TLS and simulated: the same result, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.federation_folder import JOB, SITES, Tree, default_job, make_federation, merged, write_document
from tests.flare.live import Live
from tests.simulation.simulated import comparable

pytestmark = pytest.mark.flare

COMPRESSED, SCAFFOLD, CALIBRATED = "tiny-int4", "tiny-scaffold", "tiny-calibrated"
TRAINING = {"training": {"steps": 6, "learning_rate": 0.01}, "federation": {"rounds": 3}}
JOBS: dict[str, Tree] = {
    JOB: {},
    COMPRESSED: {"compression": {"up": "int4", "error_feedback": True}},
    CALIBRATED: {
        "aggregation": {"client": {"calibration": {"shares": {"routine": 8, "soon": 4, "urgent": 2, "emergency": 1}}}},
        "training": {"schedule": "linear"},
    },
    SCAFFOLD: {"aggregation": {"client": {"scaffold": {}}}, "compression": {"up": "int8", "down": "bfloat16"}},
}

_ONE_OF_A_CLASS: Tree = {
    "case": "one emergency",
    "sites": list(SITES),
    "job": JOB,
    "view": {"records": 200, "classes": {"emergency": 1}},
    "expect": "deny",
    "rules": ["classes"],
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    policy = {"datasets": {"clinical-notes": {"minimum_per_class": 2}}}  # without one no job may calibrate its losses
    root = make_federation(tmp_path_factory.mktemp("simulated"), job=TRAINING, policy=policy)
    write_document(root, "policies/cases/classes.yaml", {"now": "2026-06-01T12:00:00Z", "cases": [_ONE_OF_A_CLASS]})
    for name, changes in JOBS.items():
        write_document(root, f"jobs/{name}.yaml", merged(default_job(), merged(TRAINING, {"job": name, **changes})))
    live = Live(root)
    live.cli("provision")
    live.cli("policy", "sign")
    try:
        live.cli("up")
        yield live
    finally:
        live.cli("down", expect=None)


@pytest.mark.parametrize("job", JOBS)
def test_a_simulation_comes_to_the_same_result(live: Live, job: str) -> None:
    real = live.json("run", job)
    made = live.json("simulate", job)
    assert real["result"]["adapter_sha256"] == made["result"]["adapter_sha256"]
    assert comparable(real["result"]) == comparable(made["result"])
    assert set(made["result"]["sites"]) == set(SITES)
    assert made["result"]["chosen"]["round"] > 0, "weights that nobody trained are the same in any case"
    for file in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (Path(real["folder"]) / file).read_bytes() == (Path(made["folder"]) / file).read_bytes()
    assert {path.name for path in Path(real["folder"]).iterdir()} == {
        path.name for path in Path(made["folder"]).iterdir()
    }
    said = json.loads((Path(made["folder"]) / "result.json").read_text())["simulation"]
    assert said == {"sites": None, "skew": None}
