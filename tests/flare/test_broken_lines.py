# SPDX-License-Identifier: Apache-2.0
"""What passes between a job's processes when the line between them breaks: real connections over mutual TLS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.fuel.f3.cellnet.core_cell import CoreCell

from cloister.flare import fetch, task_runner, task_sender
from cloister.flare.exchange import TaskName
from cloister.flare.fetch import Fetch
from cloister.flare.frames import join_frames
from cloister.flare.holder import Holder
from cloister.flare.payload import content_of
from cloister.flare.state import State
from cloister.flare.task_runner import Outcome, ReceivedTask, TaskRunner
from cloister.flare.task_sender import Answer, Part, TaskSender
from tests.flare.cells import JOB_ID, process_of
from tests.flare.proxy import Proxy, proxied
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import any_url, cell, undone_after, until

pytestmark = pytest.mark.slow

ALPHA = process_of("alpha")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    undone_after(monkeypatch)
    join_frames()
    for module, seconds in ((fetch, "_SECONDS"), (task_sender, "_ACKNOWLEDGED_SECONDS")):
        monkeypatch.setattr(module, seconds, 2.0)
    monkeypatch.setattr(task_runner, "_ACKNOWLEDGED_SECONDS", 2.0)
    return State(provisioned(tmp_path))


@contextmanager
def connected(state: State) -> Iterator[tuple[CoreCell, CoreCell, Proxy]]:
    """The server's cell, that of alpha's process, and the line between them."""
    url = any_url()
    with (
        cell("server", state.server, url) as server,
        proxied(url) as (proxy, dialled),
        cell(ALPHA, state.site("alpha"), dialled) as site,
    ):
        until(lambda: server.is_cell_connected(ALPHA) and site.is_cell_connected("server"))
        yield server, site, proxy


@pytest.mark.parametrize("up", [True, False], ids=["update", "weights"])
def test_what_is_fetched_is_whole_though_the_line_breaks(state: State, tmp_path: Path, up: bool) -> None:
    content = os.urandom(60_000_000)
    with connected(state) as (server, site, proxy):
        giver, taker = (site, server) if up else (server, site)
        holder = Holder(giver)
        holder.open()
        reference = holder.offer(b"{}", content, {taker.get_fqcn()})
        fetching = Fetch(taker, giver.get_fqcn(), time.monotonic() + 90)
        cuts: list[int] = []

        def cut_twice() -> None:
            for part in (0.2, 0.6):
                until(lambda part=part: max(proxy.up, proxy.down) > part * len(content), 60)
                cuts.append(max(proxy.up, proxy.down))
                proxy.cut()

        cutting = threading.Thread(target=cut_twice, daemon=True)
        cutting.start()
        assert fetching.into(tmp_path / "came", b"{}", reference).read_bytes() == content
        cutting.join(5)
        assert len(cuts) == 2
        assert max(proxy.up, proxy.down) < 1.6 * len(content)  # it was not begun anew


def test_a_round_is_finished_though_the_line_breaks_at_every_step(state: State, tmp_path: Path) -> None:
    came: list[Answer] = []
    done: list[ReceivedTask] = []
    with connected(state) as (server, site, proxy):
        # Here the server's one process stands for its job's: a site knows that one by the job's name.
        sender = TaskSender(server, JOB_ID, ["alpha"], came.append, tmp_path / "at-server")

        def work(task: ReceivedTask) -> Outcome:
            done.append(task)
            proxy.cut()
            return Outcome(ReturnCode.OK, task.message, content_of(task.payload))

        runner = TaskRunner(site, JOB_ID, work, lambda: False, tmp_path / "at-site")
        runner._server = "server"
        sender.open()
        runner.open()
        proxy.cut()
        weights = os.urandom(5_000_000)
        for number in (1, 2):
            sender.send(TaskName.TRAIN, [Part(("alpha",), b"%d" % number, weights)], 90)
            time.sleep(0.05)
            proxy.cut()
            until(lambda number=number: len(came) == number, 90)
    assert [task.message for task in done] == [b"1", b"2"]
    assert [answer.message for answer in came] == [b"1", b"2"]
    assert all(isinstance(answer.payload, Path) and answer.payload.read_bytes() == weights for answer in came)
