# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from nvflare.fuel.f3.mpm import MainProcessMonitor

from cloister.flare.grace import GRACE_SECONDS, end_promptly


def test_a_job_s_process_waits_a_moment_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    waited: list[tuple[float, float]] = []
    monkeypatch.setattr(MainProcessMonitor, "run", MainProcessMonitor.run)
    monkeypatch.setattr(MainProcessMonitor, "_start_shutdown", lambda grace, cleanup: waited.append((grace, cleanup)))
    monkeypatch.setattr(MainProcessMonitor, "_stopping", False)
    monkeypatch.setattr("nvflare.fuel.f3.mpm.threading.enumerate", list)  # pytest's own threads would end the process
    end_promptly()

    def main(args: str) -> None:
        ran.append(args)

    MainProcessMonitor.run(main_func=main, run_dir="/nowhere", args="what was asked")
    assert ran == ["what was asked"]
    assert waited == [(GRACE_SECONDS, 3)]


@pytest.mark.parametrize("ours", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_server_s_process_ends_a_workflow_without_pytorch(ours: bool) -> None:
    program = f"""
import sys
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.wf_comm_server import WFCommServer
from cloister.flare.grace import end_without_pytorch
if {ours}:
    end_without_pytorch()
communicator = WFCommServer()
communicator.finalize_run(FLContext())
print(communicator._all_done, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(not ours)]


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("return 3", 3, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit(5)", 5, ""),
        ("sys.exit('why')", 1, "why"),
        ("raise ValueError('what')", 1, "ValueError: what"),
    ],
)
def test_a_process_ends_whatever_is_still_waited_for(ending: str, status: int, said: str) -> None:
    program = f"""
import atexit, sys, threading, time
from cloister.flare.grace import end_with

def main(arguments):
    atexit.register(time.sleep, 1000)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    print("done", arguments)
    {ending}

end_with(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "given"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status
    assert done.stdout == "done ['given']\n"
    assert said in done.stderr
