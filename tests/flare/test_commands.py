# SPDX-License-Identifier: Apache-2.0
"""A site's process answers no more commands than a job needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from nvflare.private.admin_defs import Message
from nvflare.private.fed.client.training_cmds import DeployProcessor

from cloister.flare.commands import CheckedDeployProcessor
from tests.flare.signed_jobs import zip_of

_SCRIPT = """
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from cloister.flare.commands import restrict_commands
restrict_commands()
for processor in ClientRequestProcessors.request_processors:
    print(*processor.get_topics(), sep="\\n")
"""


def test_only_what_a_job_needs_is_left():
    """In a process of its own, because the list is NVFlare's and global."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "scheduler.check_resource",
        "scheduler.cancel_resource",
        "train.deploy",
        "train.start_job",
        "train.abort",
        "train.notify_job_status",
    }


def test_an_archive_is_looked_at_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch):
    unpacked: list[bytes] = []
    monkeypatch.setattr(DeployProcessor, "process", lambda _self, req, _app_ctx: unpacked.append(req.body))
    bomb, small = zip_of({"config/job.yaml": bytes(3 << 20)}), zip_of({"config/job.yaml": b"job: x"})
    for body in (bomb, b"no archive", None):
        refused = CheckedDeployProcessor().process(Message(topic="train.deploy", body=body), None)
        assert "denied: the job is" in str(refused.body)
    assert not unpacked
    CheckedDeployProcessor().process(Message(topic="train.deploy", body=small), None)
    assert unpacked == [small]
