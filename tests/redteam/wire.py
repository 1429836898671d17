# SPDX-License-Identifier: Apache-2.0
"""Messages that go beside a job: what server and sites would have to take for an attempt to work, and do not."""

from __future__ import annotations

import json
import subprocess
import sys

from cloister.flare.traffic import Envelope
from tests.flare.test_traffic import JOB, alpha_takes, from_person, from_site, server_takes, to_site
from tests.redteam.attempts import Tries
from tests.redteam.scene import Scene

TRIES = Tries()


def at_server(*envelopes: Envelope) -> list[str]:
    return ["taken" if server_takes(envelope) else "dropped" for envelope in envelopes]


def at_alpha(*envelopes: Envelope) -> list[str]:
    return ["taken" if alpha_takes(envelope) else "dropped" for envelope in envelopes]


@TRIES("events-from-a-site")
def _(scene: Scene) -> list[str]:
    assert server_takes(from_site("server_command", "submit_update")), "a site's job process is heard where it may be"
    topics = ("fed.event", "analytix_log_stats", "fed.analytix_log_stats", "__fire_event__")
    return at_server(
        *(from_site("aux_communication", topic) for topic in topics),
        from_site("server_command", "fire_event"),
        from_site("analytics", "log"),
    )


@TRIES("log-stream-from-a-site")
def _(scene: Scene) -> list[str]:
    """What NVFlare's log streamer uses: object streams, file streams, and a channel of its own."""
    return at_server(
        from_site("aux_communication", "ObjectStreamer.Request"),
        from_site("aux_communication", "log_streaming"),
        from_site("aux_communication", "FileStreamer"),
        from_site("error_logs", "push"),
        from_site("blob", "log_streaming"),
    )


@TRIES("swarm-result-from-a-site")
def _(scene: Scene) -> list[str]:
    return at_server(
        from_site("aux_communication", "__do_task__"),
        from_site("aux_communication", "report_learn_result"),
        from_site("aux_communication", "__do_task__", destination=f"beta.{JOB}"),
        from_site("server_command", "submit_update", destination=f"beta.{JOB}"),
    )


@TRIES("person-asks-a-site")
def _(scene: Scene) -> list[str]:
    return at_server(
        from_person("aux_communication", "__do_task__", destination=f"alpha.{JOB}"),
        from_person("admin", "train.abort", destination="alpha"),
        from_person("client_command", "shell", destination=f"alpha.{JOB}"),
        from_person("_net_manager", "stop_cell", destination="alpha"),
    )


@TRIES("one-site-speaks-to-another")
def _(scene: Scene) -> list[str]:
    beta = {"origin": f"beta.{JOB}"}
    through_the_server = at_server(
        from_site("client_command", "abort", destination="beta"),
        from_site("admin", "train.deploy", destination="beta"),
    )
    return through_the_server + at_alpha(
        to_site("aux_communication", "__do_task__", **beta),
        to_site("admin", "train.deploy", **beta),
        to_site("client_command", "abort", **beta),
    )


@TRIES("anothers-name-in-a-message")
def _(scene: Scene) -> list[str]:
    return at_server(
        from_person("hci_channel", "command", bearer="olga@research.example"),
        from_person("task", "register", bearer="alpha", registers_as="regular"),
        from_person("task", "register", registers_as="regular"),
        from_site("server_command", "submit_update", certificate="beta"),
        from_site("server_command", "submit_update", bearer="beta"),
        from_site("task", "register", bearer="server", registers_as="admin"),
        from_site("server_command", "submit_update", certificate="mallory"),
    )


_COMMANDS = """
import json
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from cloister.flare.commands import restrict_commands
def topics():
    return sorted(topic for each in ClientRequestProcessors.request_processors for topic in each.get_topics())
before = topics()
restrict_commands()
print(json.dumps([before, topics()]))
"""


@TRIES("server-wants-a-shell")
def _(scene: Scene) -> list[str]:
    """In a process of its own, because NVFlare's list of commands is global."""
    done = subprocess.run([sys.executable, "-c", _COMMANDS], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert "train.deploy" in after
    wanted = {"sys.shell", "sys.report_env", "sys.info", "sys.configure_site_log", "train.shutdown", "train.delete_run"}
    assert wanted <= set(before), "NVFlare no longer has it: this attempt may go"
    return ["obeyed" if topic in after else "no such command" for topic in sorted(wanted)]
