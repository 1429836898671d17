# SPDX-License-Identifier: Apache-2.0
"""What a server may tell a site's process to do: deploy, start and stop jobs.

NVFlare's site process answers more: a shell that prints any file, the environment, deleting runs, shutting down. It
asks the site's own permissions only where the server says that it should, so a server that has been taken over would
read keys and records. The other commands are therefore taken out before the process begins, and an unknown one is
answered with "invalid request".
"""

from __future__ import annotations

from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.client.scheduler_cmds import (
    CancelResourceProcessor,
    CheckResourceProcessor,
    StartJobProcessor,
)
from nvflare.private.fed.client.training_cmds import AbortAppProcessor, DeployProcessor, NotifyJobStatusProcessor

ALLOWED = (
    CheckResourceProcessor,
    CancelResourceProcessor,
    DeployProcessor,
    StartJobProcessor,
    NotifyJobStatusProcessor,
    AbortAppProcessor,
)


def restrict_commands() -> None:
    """Leave NVFlare's site process only the commands in `ALLOWED`."""
    known = ClientRequestProcessors.request_processors
    ClientRequestProcessors.request_processors = [processor for processor in known if type(processor) in ALLOWED]
