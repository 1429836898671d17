# SPDX-License-Identifier: Apache-2.0
"""A site's process answers no more commands than a job needs."""

from __future__ import annotations

import subprocess
import sys

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
