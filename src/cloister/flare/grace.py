# SPDX-License-Identifier: Apache-2.0
"""How a job's process ends: soon, and whatever a library would still wait for.

NVFlare lets three seconds pass after it has closed a process's connections, for what is still under way. In a job's
process nothing is: the rounds are over, results and audit log are on disk, and the sites have been told. A site that
did not hear it learns from its next heartbeat that the job is gone.

At the end of a workflow NVFlare's server looks for tensors that are still being fetched by its own way of fetching
them. It loads PyTorch for that, a second and 200 MB, and there are none: what is sent `task_sender` sends.

When NVFlare has said its good-bye it ends the process itself if threads are left over. If none is, Python would still
run what libraries registered for its end, and one of those that never returned would leave a job whose result is
written "running" for ever.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

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


def end_with(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a program's ``main`` on the command line, and end this process with its status, there and then."""
    status = 1
    try:
        status = main(sys.argv[1:])
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            status = end.code or 0
        else:
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException:  # noqa: BLE001 - it is the last that anybody hears of it
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
