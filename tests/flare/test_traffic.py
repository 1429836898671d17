# SPDX-License-Identifier: Apache-2.0
"""Who may send what to whom, on envelopes as a running federation was seen to send them, and on forged ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey

from cloister.certificates import Identity, identities
from cloister.errors import CertificateError
from cloister.flare import site_process
from cloister.flare.connections import CERTIFICATE, SENDER
from cloister.flare.traffic import Envelope, Rule, restrict_traffic, rule_of_server, rule_of_site
from cloister.roster import Federation
from tests.federation_folder import OFFICER, PERSON, default_roster

JOB = "96da7c8b-7c90-407c-8a01-d0d2cb944f3e"
SESSION = "_admin_8c4fdb9c-667c-46ad-89aa-fe417588ae80"
STREAM, ACK = "sm__STREAM", "sm__ACK"

ENTRIES = {each.name: each for each in identities(Federation.model_validate_json(json.dumps(default_roster())))}


def holder(certificate: bytes) -> Identity:
    """Whose a certificate is; here it is a name. One that is off the roster, or revoked, is nobody's."""
    if (found := ENTRIES.get(certificate.decode())) is None:
        raise CertificateError("the certificate is nobody's")
    return found


def broken_holder(_certificate: bytes) -> Identity:
    raise RuntimeError("the gate's own code throws")


server_takes = rule_of_server(holder)
alpha_takes = rule_of_site("alpha")


def shown(envelope: Envelope) -> Envelope:
    """``envelope`` with the certificate that bears its name."""
    return replace(envelope, shown=envelope.certificate.encode())


def from_person(channel: str, topic: str, **changes: str) -> Envelope:
    return shown(replace(Envelope(PERSON, SESSION, SESSION, "server", channel, topic, PERSON), **changes))


def from_site(channel: str, topic: str, **changes: str) -> Envelope:
    process = f"alpha.{JOB}"
    return shown(replace(Envelope("alpha", process, process, f"server.{JOB}", channel, topic, "alpha"), **changes))


def to_site(channel: str, topic: str, **changes: str) -> Envelope:
    return replace(Envelope("", "server", f"server.{JOB}", f"alpha.{JOB}", channel, topic, "server_job"), **changes)


@pytest.mark.parametrize(
    "envelope",
    [
        from_person("task", "challenge", bearer=""),
        from_person("task", "register", registers_as="admin"),
        from_person("hci_channel", "command"),
        from_person("aux_communication", "ObjectStreamer.Request"),
        from_person("cloister.mailbox", "sync"),
        from_person("cloister.mailbox", "deposit"),
        from_site("cloister.mailbox", "sync", neighbour="alpha", origin="alpha", destination="server"),
        from_person("download_service__", "download_service__download"),
        from_person(STREAM, ACK),
        from_person("hci_channel", "command", certificate=OFFICER, bearer=OFFICER),
        from_site("task", "register", neighbour="alpha", origin="alpha", destination="server", registers_as="regular"),
        from_site("task", "heart_beat", neighbour="alpha", origin="alpha", destination="server"),
        from_site("admin", "admin", neighbour="alpha", origin="alpha", destination="server"),
        from_site("server_command", "get_task"),
        from_site("server_command", "submit_update", neighbour="alpha"),  # relayed by the site's parent process
        from_site("aux_communication", "__task_check__"),
        *(from_site("cloister.rounds", topic) for topic in ("ready", "task", "answer", "chunk")),
        from_site(STREAM, ACK),
        Envelope("", f"server.{JOB}", f"server.{JOB}", f"alpha.{JOB}", "return_only", "server_command:get_task"),
        Envelope("", f"server.{JOB}", f"server.{JOB}", "server", "server_parent_listener", "heartbeat", "server_job"),
    ],
)
def test_the_server_takes_what_sessions_and_jobs_need(envelope: Envelope) -> None:
    assert server_takes(envelope)


@pytest.mark.parametrize(
    "envelope",
    [
        from_person("aux_communication", "__do_task__", destination=f"alpha.{JOB}"),
        from_person("cloister.rounds", "task", destination=f"alpha.{JOB}"),
        from_person("cloister.rounds", "chunk", destination=f"alpha.{JOB}"),
        from_person("cloister.rounds", "answer", destination=f"server.{JOB}"),
        from_site("cloister.rounds", "task", destination=f"beta.{JOB}"),
        from_site("cloister.rounds", "chunk", destination=f"beta.{JOB}"),
        from_site("cloister.rounds", "answer", origin=f"beta.{JOB}"),
        from_site("cloister.rounds", "anything"),
        *(from_site("cloister.rounds", topic) for topic in ("bytes", "issue", "revoke")),
        *(from_site("cloister.rounds", topic, destination="server") for topic in ("bytes", "issue", "revoke")),
        *(from_person("cloister.rounds", topic) for topic in ("stream", "issue", "revoke")),
        from_person("admin", "train.deploy", destination="alpha"),
        from_person("hci_channel", "command", destination="alpha"),
        from_person(STREAM, ACK, destination="alpha"),
        from_person("_net_manager", "stop_cell", destination="alpha"),
        from_person("_net_manager", "stop_cell"),
        from_person("cellnet.channel", "bulk"),
        from_person("server_parent_listener", "update_run_status"),
        from_person("server_command", "abort", destination=f"server.{JOB}"),
        from_person("hci_channel", "command", destination=f"server.{JOB}"),
        from_person("aux_communication", "fed.event"),
        from_person("task", "heart_beat"),
        from_person("task", "register", registers_as="regular"),
        from_person("task", "register", registers_as="relay"),
        from_person("hci_channel", "command", origin="server"),
        from_person("hci_channel", "command", origin=f"server.{JOB}"),
        from_person("hci_channel", "command", bearer=OFFICER),
        from_person("hci_channel", "command", bearer="server"),
        from_person("hci_channel", "command", certificate="eve@research.example", bearer="eve@research.example"),
        from_person("hci_channel", "command", certificate="alpha", bearer="alpha"),
        from_site("server_command", "get_task", destination=f"beta.{JOB}"),
        from_site("aux_communication", "__do_task__", destination=f"beta.{JOB}"),
        from_site("aux_communication", "__sync_runner__", destination="beta"),
        from_site("server_command", "handle_dead_job"),
        from_site("server_parent_listener", "heartbeat", destination="server"),
        from_site("server_command", "submit_update", origin=f"beta.{JOB}"),
        from_site("server_command", "submit_update", bearer="beta"),
        from_site("server_command", "submit_update", neighbour="server.alpha", origin="server.alpha"),
        from_site("server_command", "submit_update", certificate="delta", bearer="delta"),
        from_site("server_command", "submit_update", certificate="", neighbour=f"alpha.{JOB}"),
        from_site("task", "register", registers_as="admin"),
        from_site("cloister.mailbox", "deposit", neighbour="alpha", origin="alpha", destination="server"),
        from_site("cloister.mailbox", "collect", neighbour="alpha", origin="alpha", destination="server"),
        replace(from_site("server_command", "get_task"), shown=b""),
        replace(from_site("server_command", "get_task"), shown=b"beta"),
        replace(from_site("server_command", "get_task"), certificate="", bearer=""),
        replace(from_person("hci_channel", "command"), shown=b"revoked"),
        from_site("hci_channel", "command", destination="server"),
        Envelope("coordinator", f"server.{JOB}", f"server.{JOB}", "server", "server_parent_listener", "heartbeat"),
        Envelope("", "", "server", "server", "hci_channel", "command"),
    ],
)
def test_the_server_drops_everything_else(envelope: Envelope) -> None:
    assert not server_takes(envelope)


@pytest.mark.parametrize(
    "envelope",
    [
        to_site("task", "heart_beat", origin="server", destination="alpha"),
        to_site("admin", "admin", origin="server", destination="alpha"),
        to_site("return_only", "server_command:get_task"),
        to_site("return_only", "server_command:get_task", neighbour="alpha"),
        to_site("aux_communication", "__end_run__"),
        *(to_site("cloister.rounds", topic) for topic in ("ready", "task", "answer", "chunk", "stream")),
        to_site(STREAM, ACK),
        Envelope("", f"alpha.{JOB}", f"alpha.{JOB}", "alpha", "admin", "train.notify_job_status", "alpha"),
        Envelope("", f"alpha.{JOB}", f"alpha.{JOB}", f"server.{JOB}", "server_command", "get_task", "alpha"),
        Envelope("", "alpha", "alpha", f"alpha.{JOB}", "client_command", "abort", "alpha"),
    ],
)
def test_a_site_takes_what_a_job_needs(envelope: Envelope) -> None:
    assert alpha_takes(envelope)


@pytest.mark.parametrize(
    "envelope",
    [
        to_site("aux_communication", "__do_task__"),
        to_site("aux_communication", "fed.event"),
        to_site("aux_communication", "__do_task__", origin=SESSION),
        to_site("cloister.rounds", "task", origin=SESSION),
        to_site("cloister.rounds", "task", origin=f"beta.{JOB}"),
        to_site("cloister.rounds", "task", origin=f"alpha.{JOB}", neighbour=f"alpha.{JOB}"),
        to_site("cloister.rounds", "anything"),
        to_site("admin", "admin", origin=SESSION),
        to_site("admin", "admin", origin=f"beta.{JOB}"),
        to_site("admin", "admin", origin=""),
        to_site("_net_manager", "config_vars", origin="server"),
        to_site("_net_manager", "change_root", origin="server"),
        to_site("client_command", "configure_job_log"),
        to_site("client_command", "abort", origin="alpha"),
        to_site("cellnet.channel", "bulk", origin="server"),
        to_site("download_service__", "download_service__download"),
        to_site("client_command", "configure_job_log", neighbour="alpha.evil", origin="alpha.evil"),
        to_site("_net_manager", "stop_cell", neighbour="alpha.evil", origin="alpha.evil"),
    ],
)
def test_a_site_drops_everything_else(envelope: Envelope) -> None:
    assert not alpha_takes(envelope)


def test_a_piece_of_a_stream_is_judged_by_the_message_in_it() -> None:
    headers = {
        MessageHeaderKey.CHANNEL: STREAM_CHANNEL,
        MessageHeaderKey.TOPIC: STREAM_DATA_TOPIC,
        MessageHeaderKey.ORIGIN: SESSION,
        MessageHeaderKey.DESTINATION: "server",
        StreamHeaderKey.CHANNEL: "server_command",
        StreamHeaderKey.TOPIC: "abort",
    }
    message = Message(headers=headers, payload=b"")
    message.set_prop(MessagePropKey.ENDPOINT, Endpoint(SESSION))
    message.set_prop(MessagePropKey.COMMON_NAME, PERSON)
    assert Envelope.of(message) == Envelope(PERSON, SESSION, SESSION, "server", "server_command", "abort")
    assert not server_takes(Envelope.of(message))


def test_a_message_carries_the_whole_certificate_of_its_connection() -> None:
    message = Message(headers={}, payload=b"")
    message.set_prop(CERTIFICATE, b"PEM")
    assert Envelope.of(message).shown == b"PEM"
    assert "PEM" not in repr(Envelope.of(message))


def filter_of(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> Callable[[Message], Message | None]:
    """What `restrict_traffic` puts before every message."""
    kept: list[Callable[[Message], Message | None]] = []
    monkeypatch.setattr(CoreCell, "start", lambda _cell: None)
    monkeypatch.setattr(CoreCell, "add_incoming_filter", lambda _cell, _channel, _topic, cb: kept.append(cb))
    restrict_traffic(rule)
    CoreCell.start(CoreCell.__new__(CoreCell))
    return kept[0]


def test_a_message_that_is_taken_says_whose_connection_it_came_over(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(headers={SENDER: "somebody else"}, payload=b"")
    message.set_prop(MessagePropKey.COMMON_NAME, PERSON)
    assert filter_of(monkeypatch, lambda _envelope: True)(message) is None
    assert message.get_header(SENDER) == PERSON


@pytest.mark.parametrize("rule", [lambda _envelope: 1 / 0, rule_of_server(broken_holder)])
def test_a_message_is_dropped_where_the_rule_itself_throws(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    message = Message(headers={}, payload=b"")
    message.set_prop(MessagePropKey.COMMON_NAME, PERSON)
    message.set_prop(CERTIFICATE, PERSON.encode())
    assert filter_of(monkeypatch, rule)(message) is not None


def test_a_message_that_says_nothing_is_dropped() -> None:
    assert not server_takes(Envelope.of(Message(headers={}, payload=b"")))
    assert not alpha_takes(Envelope.of(Message(headers={}, payload=b"")))


@pytest.mark.parametrize("given", [["-n", JOB], ["-c", "alpha"], ["-m", "/x", "-c"]])
def test_a_job_process_without_its_sites_name_or_workspace_does_not_start(
    capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert site_process.main(given) == 2
    assert "without its site's name or workspace" in capsys.readouterr().err
