# SPDX-License-Identifier: Apache-2.0
"""How long a job's process waits at its end.

NVFlare lets three seconds pass after it has closed a process's connections, for what is still under way. In a job's
process nothing is: the rounds are over, results and audit log are on disk, and the sites have been told. A site that
did not hear it learns from its next heartbeat that the job is gone.

At the end of a workflow NVFlare's server looks for tensors that are still being fetched by its own way of fetching
them. It loads PyTorch for that, a second and 200 MB, and there are none: what is sent `task_sender` sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.wf_comm_server import WFCommServer
from nvflare.fuel.f3.mpm import MainProcessMonitor

from cloister.flare.substitute import substitute

GRACE_SECONDS = 0.2


def end_promptly() -> None:
    """Have NVFlare's process of a job that is started from here end soon after its work is done."""
    run = MainProcessMonitor.run

    def run_with_short_grace(main_func: Callable[..., Any], run_dir: str | None = None, **arguments: Any) -> Any:
        return run(main_func, run_dir, **{"shutdown_grace_time": GRACE_SECONDS} | arguments)

    substitute(MainProcessMonitor, "run", run_with_short_grace)


def end_without_pytorch() -> None:
    """Have NVFlare's server of a job that is started from here end the workflow without loading PyTorch."""

    def nothing_is_fetched(_self: WFCommServer, _fl_ctx: FLContext) -> None:
        pass

    substitute(WFCommServer, "_cleanup_inflight_tensor_downloads", nothing_is_fetched)
