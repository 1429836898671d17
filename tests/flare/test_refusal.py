# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.errors import DeniedError, EgressError, JobError, RecordsError, SandboxError, TrainerError
from cloister.flare.refusal import TRAINER_FAILED, refusal_of

_SANDBOX = "the sandbox cannot be started"


@pytest.mark.parametrize(
    ("error", "task", "denied", "reason"),
    [
        (DeniedError("`purpose`: not granted"), "train", True, "`purpose`: not granted"),
        (EgressError("the update is not finite"), "train", False, "the update is not finite"),
        (JobError("no round is open"), "evaluate", False, "no round is open"),
        (RecordsError("`/srv/records/a.csv` is missing"), "prepare", False, "`…/a.csv` is missing"),
        (TrainerError("the trainer died twice"), "train", False, TRAINER_FAILED),
        (TrainerError("the trainer died twice"), "prepare", False, TRAINER_FAILED),
        (SandboxError(_SANDBOX), "prepare", False, _SANDBOX),
        (SandboxError(_SANDBOX), "train", False, TRAINER_FAILED),
    ],
)
def test_what_the_server_is_told(error: Exception, task: str, denied: bool, reason: str) -> None:
    refusal = refusal_of(error, task)
    assert (refusal.denied, refusal.reason) == (denied, reason)


def test_whatever_else_goes_wrong_stays_at_the_site(caplog: pytest.LogCaptureFixture) -> None:
    refusal = refusal_of(ValueError("patient Jane Doe"), "train")
    assert not refusal.denied
    assert "Jane" not in refusal.reason
    assert "the site's job process failed" in refusal.reason
    assert "Jane" in caplog.text
