# SPDX-License-Identifier: Apache-2.0
"""A person with a valid certificate speaks to NVFlare's processes without going through the server's commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from nvflare.apis.fl_constant import ReservedKey, ReservedTopic, ServerCommandNames
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.fuel.f3.cellnet.defs import CellChannel, IdentityChallengeKey, MessageHeaderKey
from nvflare.fuel.f3.cellnet.registry import Registry
from nvflare.private.admin_defs import Message as Command
from nvflare.private.defs import CellMessageHeaderKeys, TrainingTopic, new_cell_message

from cloister.egress import write_adapter
from cloister.flare.exchange import Ask
from cloister.flare.session import PersonSession
from cloister.jobs import initial_adapter, layout_of
from cloister.repository import load_repository
from tests.federation_folder import JOB, base_model
from tests.flare.live import Live, ended
from tests.flare.wire_form import sent

pytestmark = pytest.mark.flare

_SECONDS = 2.0


@pytest.fixture
def session(running: Live) -> Iterator[PersonSession]:
    """A person's session whose own end does not check who answers."""
    with running.session() as opened:
        opened._session.api.cell.core_cell.in_filter_reg = Registry()
        yield opened


def answered(session: PersonSession, channel: str, topic: str, target: str, payload: Any, **headers: Any) -> bool:
    """Send a message as it is; returns whether anybody answered."""
    message = new_cell_message(headers, payload)
    reply = session._session.api.cell.send_request(
        channel=channel, topic=topic, target=target, request=message, timeout=_SECONDS
    )
    return reply.get_header(MessageHeaderKey.RETURN_CODE) == "ok"


def round_of(job_id: str, adapter: bytes) -> Shareable:
    """What the server would send to ask for the first round."""
    task = sent(Ask(round=1), adapter)
    task.set_header(ReservedHeaderKey.TASK_NAME, "train")
    task.set_header(ReservedHeaderKey.TASK_ID, "mine")
    peer = FLContext()
    peer.set_prop(ReservedKey.RUN_NUM, job_id, private=False, sticky=False)
    task.set_peer_props(peer.get_all_public_props())
    return task


def test_a_session_can_be_heard_where_it_may(session: PersonSession):
    """Without this the silence below would prove nothing."""
    assert answered(session, CellChannel.SERVER_MAIN, "challenge", "server", None, **{IdentityChallengeKey.NONCE: "1"})


def test_nobody_but_the_server_asks_a_site_for_an_update(running: Live, session: PersonSession):
    document = load_repository(running.root).jobs[JOB]
    adapter = write_adapter(initial_adapter(layout_of(document.value, base_model=base_model()), 1))
    job_id = session.submit(document, ["alpha", "beta", "gamma"])
    asked = (CellChannel.AUX_COMMUNICATION, ReservedTopic.DO_TASK, f"alpha.{job_id}")
    while not session.job(job_id).finished:
        assert not answered(session, *asked, round_of(job_id, adapter))
    assert running.wait(session, job_id, ended).completed
    assert "__do_task__" in dropped(running)


def test_nobody_but_the_server_commands_a_site(running: Live, session: PersonSession):
    command = Command(topic=TrainingTopic.ABORT, body="")
    assert not answered(session, CellChannel.CLIENT_MAIN, "admin", "alpha", command)
    assert not answered(session, "_net_manager", "stop_cell", "alpha", None)
    assert "stop_cell" in dropped(running)
    assert session.connected_sites() == ["alpha", "beta", "gamma"]


def test_nobody_but_the_server_ends_a_job(running: Live, session: PersonSession):
    job_id = session.submit(load_repository(running.root).jobs[JOB], ["alpha", "beta", "gamma"])
    job = {CellMessageHeaderKeys.JOB_ID: job_id}
    failed = (CellChannel.SERVER_PARENT_LISTENER, ServerCommandNames.UPDATE_RUN_STATUS, "server")
    while not session.job(job_id).finished:
        assert not answered(session, *failed, {"execution_error": True}, **job)
        assert not answered(session, CellChannel.SERVER_COMMAND, "abort", f"server.{job_id}", Shareable())
    assert running.wait(session, job_id, ended).completed


def dropped(running: Live) -> str:
    """What the server logged of messages that it dropped."""
    log = running.local.state.server / "log.txt"
    return "".join(line for line in log.read_text().splitlines() if "dropped a message" in line)
