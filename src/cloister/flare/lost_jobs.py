# SPDX-License-Identifier: Apache-2.0
"""Jobs that ran when the server was stopped: the next server says that they have ended.

NVFlare 2.9 has the function for it, `JobRunner.update_unfinished_jobs`, and calls it from nowhere. Without it such a
job is listed as running for ever, whoever watches it waits for ever, and it cannot be stopped.
"""

from __future__ import annotations

from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, SystemComponents
from nvflare.apis.fl_context import FLContext

from cloister.flare.leftover_updates import remove_leftover_updates


class LostJobs(FLComponent):
    """Marks them as abandoned when a server starts, before it runs a job of its own, and removes their updates."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Do it once, at the server's start: the thread that runs jobs is started after this event."""
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            for run in Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_root_dir()).iterdir():
                remove_leftover_updates(run)
            _mark(fl_ctx)


def _mark(fl_ctx: FLContext) -> None:
    fl_ctx.get_engine().get_component(SystemComponents.JOB_RUNNER).update_unfinished_jobs(fl_ctx)
