# SPDX-License-Identifier: Apache-2.0
"""A job in a real federation whose weights and updates are too large for a message, both ways: they go in streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.flare.fetch import BY_MESSAGE
from cloister.flare.parcel import MAXIMUM_INLINE_BYTES
from tests.federation_folder import JOB, SITES, make_federation
from tests.flare.live import Live

pytestmark = pytest.mark.flare

RANK = 64


def test_weights_and_updates_that_go_in_streams_make_a_result(tmp_path: Path) -> None:
    method = {"lora": {"rank": RANK, "alpha": RANK, "targets": ["query", "value"]}}
    policy = {"methods": {"lora": {"maximum_rank": RANK}}}
    live = Live(make_federation(tmp_path, job={"method": method}, policy=policy))
    live.cli("provision")
    live.cli("policy", "sign", "--untested")
    result = live.json("run", JOB)["result"]
    assert result["phase"] == "completed"
    assert all(entry["sites"] == list(SITES) for entry in result["history"])
    rounds = len(result["history"])
    assert all(site["bytes"] > rounds * MAXIMUM_INLINE_BYTES for site in result["sites"].values())
    state = live.local.state.folder
    assert [path for path in state.rglob("received/*") if path.is_file()] == []
    logs = [path.read_text() for path in state.rglob("log.txt")]
    assert len(logs) > len(SITES)
    assert not [line for log in logs for line in log.splitlines() if BY_MESSAGE in line or "in a stream" in line]
