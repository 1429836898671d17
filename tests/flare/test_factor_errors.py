# SPDX-License-Identifier: Apache-2.0
"""What is told of a round whose products of factors were summed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.aggregation.factors import Trained, averaging_error, refactored
from cloister.flare import factor_errors as module
from cloister.flare.factor_errors import factor_errors
from cloister.flare.job_record import JobRecord
from cloister.flare.measurements import Measurements
from cloister.jobs.adapter import FACTOR_A, FACTOR_B
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.test_round_weights import Job3


def trained(sites: int = 3, rank: int = 2) -> list[Trained]:
    random = np.random.default_rng(5)
    shapes = {"l" + FACTOR_A: (rank, 9), "l" + FACTOR_B: (7, rank)}
    return [
        Trained(f"s{number}", 1.0 + number, {k: random.normal(size=v).astype(np.float32) for k, v in shapes.items()})
        for number in range(sites)
    ]


def test_both_shares_are_told() -> None:
    found = trained()
    cut_off = refactored(found[0].arrays, found).cut_off
    assert factor_errors(found, cut_off).to_json() == {
        "averaging_error": averaging_error(found),
        "cut_off": max(cut_off.values()),
    }
    assert factor_errors(found, {}).cut_off == 0.0


def test_of_very_many_factors_no_time_is_spent_on_a_mean_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_RANK", 6)
    assert factor_errors(trained(3), {}).averaging is not None
    assert factor_errors(trained(4), {}).averaging is None


def test_a_figure_that_cannot_be_had_does_not_end_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> float:
        raise np.linalg.LinAlgError("does not come to an end")

    monkeypatch.setattr(module, "averaging_error", fails)
    assert factor_errors(trained(), {"l": 0.5}).to_json() == {"averaging_error": None, "cut_off": 0.5}


@pytest.mark.parametrize("way", ["refactored", "flora", None])
def test_rounds_under_a_rule_for_products_tell_them(tmp_path: Path, way: str | None) -> None:
    changes: dict[str, Any] = {"compression": {"error_feedback": False}}
    job = Job3(tmp_path, **({"aggregation": {"factors": way}, **changes} if way else changes))
    job.round(by=0.5)
    errors = job.server.factor_errors
    record = JobRecord(job_of(make_federation(tmp_path / "other")), "an-id", ["alpha"])
    record.round_over(Measurements(), errors)
    (entry,) = json.loads(json.dumps(record.progress(), allow_nan=False))["history"]
    if way is None:
        assert errors is entry["factors"] is None
        return
    assert 0 < entry["factors"]["averaging_error"] < 2
    assert (entry["factors"]["cut_off"] > 0.01) is (way == "refactored")
