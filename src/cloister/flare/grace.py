# SPDX-License-Identifier: Apache-2.0
"""How long a job's process waits at its end.

NVFlare lets three seconds pass after it has closed a process's connections, for what is still under way. In a job's
process nothing is: the rounds are over, results and audit log are on disk, and the sites have been told. A site that
did not hear it learns from its next heartbeat that the job is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvflare.fuel.f3.mpm import MainProcessMonitor

from cloister.flare.substitute import substitute

GRACE_SECONDS = 0.2


def end_promptly() -> None:
    """Have NVFlare's process of a job that is started from here end soon after its work is done."""
    run = MainProcessMonitor.run

    def run_with_short_grace(main_func: Callable[..., Any], run_dir: str | None = None, **arguments: Any) -> Any:
        return run(main_func, run_dir, **{"shutdown_grace_time": GRACE_SECONDS} | arguments)

    substitute(MainProcessMonitor, "run", run_with_short_grace)
