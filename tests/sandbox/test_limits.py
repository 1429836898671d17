# SPDX-License-Identifier: Apache-2.0
"""Trainers that use up too much, and trainers whose host dies."""

from __future__ import annotations

import sys
from dataclasses import replace

import psutil
import pytest

from cloister.errors import TrainerError
from cloister.messages import Setup, Train
from cloister.sandbox import Enclosure, SandboxMode

from .conftest import Make, gone, speaking

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred


class TestLimits:
    def test_memory(self, trainer: Make, enclosure: Enclosure) -> None:
        code = "send(READY)\nreceive()\nheld = []\nwhile True:\n    held.append(b'x' * 20_000_000); time.sleep(0.01)"
        one = trainer(code, limits=replace(enclosure.limits, memory_bytes=200 * 2**20))
        one.start(20)
        with pytest.raises(TrainerError, match=r"used more than 0\.2 GiB memory"):
            one.ask(Train(round=0), b"", 30)
        assert one.restarts == 1
        assert one.pid is None

    def test_processes(self, trainer: Make, enclosure: Enclosure) -> None:
        code = "send(READY)\nreceive()\nfor _ in range(300):\n    if not os.fork():\n        time.sleep(60)\n"
        one = trainer(code + "time.sleep(60)", limits=replace(enclosure.limits, processes=32))
        one.start(20)
        before = {process.pid for process in psutil.process_iter()}
        with pytest.raises(TrainerError, match="ran more than 32 processes and threads"):
            one.ask(Train(round=0), b"", 30)
        left = {process.pid for process in psutil.process_iter()} - before
        assert gone([pid for pid in left if _is_probe(pid)])

    def test_threads_count_as_processes(self, trainer: Make, enclosure: Enclosure) -> None:
        code = "send(READY)\nreceive()\nimport threading\nfor _ in range(60):\n    "
        code += "threading.Thread(target=time.sleep, args=(60,)).start()"
        one = trainer(code, limits=replace(enclosure.limits, processes=32))
        one.start(20)
        with pytest.raises(TrainerError, match="ran more than 32"):
            one.ask(Train(round=0), b"", 30)


def _is_probe(pid: int) -> bool:
    try:
        return "CLS1" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


HOST = """
import sys, time
from pathlib import Path
from cloister.messages import Setup
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer
from cloister.sandbox.usage import tree
limits = Limits(2**31, 64, 1)
enclosure = Enclosure(Path({view!r}), Path({base!r}), (), limits, Path({log!r}))
setup = Setup.model_validate_json({setup!r})
one = Trainer(enclosure, setup, mode=SandboxMode({mode!r}), maximum_blob_bytes=10, argv={argv!r})
one.start(20)
print(*tree(one.pid), flush=True)
time.sleep(60)
"""


def test_dies_with_its_host(enclosure: Enclosure, setup_message: Setup, mode: SandboxMode) -> None:
    code = HOST.format(
        view=str(enclosure.view),
        base=str(enclosure.base_model),
        log=str(enclosure.log),
        setup=setup_message.model_dump_json(),
        mode=mode.value,
        # It does not look at its standard input, whose end would tell it.
        argv=speaking("send(READY)\ntime.sleep(60)"),
    )
    with psutil.Popen([sys.executable, "-c", code], stdout=-1) as host:
        pids = [int(pid) for pid in host.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        assert pids
        host.kill()
    assert gone(pids)
