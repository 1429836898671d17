# SPDX-License-Identifier: Apache-2.0
"""What a server may tell a site's process to do: deploy, start and stop jobs.

NVFlare's site process answers more: a shell that prints any file, the environment, deleting runs, shutting down. It
asks the site's own permissions only where the server says that it should, so a server that has been taken over would
read keys and records. The other commands are therefore taken out before the process begins, and an unknown one is
answered with "invalid request".

To deploy, NVFlare unpacks what came into a temporary folder, however large it becomes. So it is looked at before.
"""

from __future__ import annotations

from nvflare.private.admin_defs import Message, error_reply
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.client.scheduler_cmds import (
    CancelResourceProcessor,
    CheckResourceProcessor,
    StartJobProcessor,
)
from nvflare.private.fed.client.training_cmds import AbortAppProcessor, DeployProcessor, NotifyJobStatusProcessor

from cloister.errors import DeniedError
from cloister.flare.app_archive import files_of


class CheckedDeployProcessor(DeployProcessor):
    """NVFlare's own, after a look at the archive."""

    def process(self, req: Message, app_ctx: object) -> Message:
        """Deploy an app, if its archive is one that could be admitted."""
        try:
            files_of(req.body)
        except DeniedError as error:
            return error_reply(f"denied: {error}")
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            return error_reply("denied: the job is not a ZIP archive that can be read")
        return super().process(req, app_ctx)


ALLOWED = (
    CheckResourceProcessor,
    CancelResourceProcessor,
    StartJobProcessor,
    NotifyJobStatusProcessor,
    AbortAppProcessor,
)


def restrict_commands() -> None:
    """Leave NVFlare's site process only the commands in `ALLOWED`, and a careful one to deploy."""
    known = ClientRequestProcessors.request_processors
    kept = [processor for processor in known if type(processor) in ALLOWED]
    ClientRequestProcessors.request_processors = [*kept, CheckedDeployProcessor()]
