# SPDX-License-Identifier: Apache-2.0
"""A job on a slice of real abstracts over three sites with skewed conditions, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flare.live import Live
from tests.medical_abstracts import JOB, federation, read, split

pytestmark = pytest.mark.flare


def test_three_sites_learn_together_from_real_abstracts(tmp_path: Path):
    sites, _ = split(read(limit=600), seed=1)
    assert [len({label for _, label in records}) for records in sites.values()] == [5, 5, 5]
    live = Live(federation(tmp_path / "federation", sites, rounds=4, steps=6, seed=1))
    live.cli("provision")
    live.cli("policy", "sign", "--untested")
    try:
        result = live.json("run", JOB)["result"]
    finally:
        live.cli("down", expect=None)
    before, after = result["history"][0]["before"], result["after"]
    assert result["chosen"]["round"] > 0
    assert after["loss"] < before["loss"]
    assert result["chosen"]["value"] > before["accuracy"]
    assert all(site["rounds"] == 4 and not site["reason"] for site in result["sites"].values())
