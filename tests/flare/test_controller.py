# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.flare.controller import AdapterController
from cloister.flare.rounds import Rounds
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of


class FullDisk(Rounds):
    """The rounds of a job whose server has no room left."""

    def begin(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("writable", [True, False], ids=["the reason can be written", "it cannot"])
def test_a_server_that_cannot_write_ends_the_job_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    rounds = FullDisk(job_of(make_federation(tmp_path)), "an-id", [], tmp_path / "result")
    controller, told = AdapterController(), []
    controller._rounds = rounds
    monkeypatch.setattr(controller, "panic", told.append)
    if writable:
        controller.run()
        assert "no space left" in (tmp_path / "result" / "failure.json").read_text()
    else:
        monkeypatch.setattr(rounds, "fail", lambda _reason, denied: rounds.begin())
        with pytest.raises(OSError, match="No space left"):
            controller.run()
    assert told == ["the server cannot write the job's state: no space left on device"]
