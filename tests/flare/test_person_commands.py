# SPDX-License-Identifier: Apache-2.0
"""The server takes no more commands from people than Cloister's own sessions send."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.fuel.hci.conn import Connection
from nvflare.fuel.sec.authz import AuthzContext, Person
from nvflare.private.fed.server.server_cmd_modules import ServerCommandModules
from nvflare.security.security import COMMAND_CATEGORIES, FLAuthorizer

from cloister.flare.kit import server_files
from cloister.flare.person_commands import ALLOWED, answer_connected
from cloister.roster import Federation
from tests.federation_folder import default_roster

# Every module that NVFlare's server registers, as `FedAdminServer` does it.
_SCRIPT = """
import json
from nvflare.fuel.f3.cellnet.net_manager import NetManager
from nvflare.fuel.hci.server.builtin import new_command_register_with_builtin_module
from nvflare.fuel.hci.server.login import LoginModule
from nvflare.fuel.hci.server.sess import SessionManager
from nvflare.private.fed.server.server_cmd_modules import ServerCommandModules
from cloister.flare.person_commands import answer_connected, restrict_person_commands

def register():
    registered = new_command_register_with_builtin_module(app_ctx=None)
    sessions = SessionManager.__new__(SessionManager)
    manager = NetManager.__new__(NetManager)
    manager.diagnose = True
    for module in (LoginModule(sessions), sessions, manager, *ServerCommandModules.cmd_modules):
        registered.register_module(module)
    registered.finalize()
    return {entry.name: entry for scope in registered.scopes.values() for entry in scope.entries.values()}

before = register()
restrict_person_commands()
after = register()
print(json.dumps({
    "before": sorted(before),
    "after": sorted(after),
    "ours": after["check_status"].handler is answer_connected,
}))
"""


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    """In a process of its own, because the register is NVFlare's and global."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_only_what_a_session_sends_is_left(commands: dict[str, Any]) -> None:
    assert {"list_sessions", "stress", "reset_errors", "cat", "shutdown", "delete_job"} < set(commands["before"])
    assert set(commands["after"]) == ALLOWED
    assert commands["ours"]


def test_who_is_connected_is_told_without_their_tokens() -> None:
    site = SimpleNamespace(name="alpha", token="a-session-token", last_connect_time=12.5)
    conn = Connection(app_ctx=SimpleNamespace(get_clients=lambda: [site]))
    answer_connected(conn, ["check_status", "server"])
    said = conn.buffer.encode()
    assert "alpha" in said
    assert "12.5" in said
    assert "token" not in said


@pytest.mark.parametrize("role", ["data-scientist", "compliance-officer", "it-admin"])
def test_a_role_has_the_rights_of_its_own_commands_alone(role: str) -> None:
    """By NVFlare's own reading of the configuration that is written."""
    federation = Federation.model_validate_json(json.dumps(default_roster()))
    rights = server_files(federation, Path("/srv/server"), 8002)["local/authorization.json"]
    authorizer = FLAuthorizer("vendor", rights)
    person = Person("ada@research.example", "institute", role)
    named = {spec.name for module in ServerCommandModules.cmd_modules for spec in module.get_spec().cmd_specs}

    def may(command: str, submitter: Person) -> bool:
        return bool(authorizer.authorize(AuthzContext(right=command, user=person, submitter=submitter))[0])

    follow = {"list_jobs", "get_job_meta", "check_status", "app_command"}
    own = {"submit_job", "abort_job", "download_job"} if role == "data-scientist" else set()
    everything = named | set(COMMAND_CATEGORIES)
    assert {command for command in everything if may(command, person)} == follow | own
    other = Person("somebody@research.example", "institute", role)
    assert {command for command in everything if may(command, other)} == follow | (own & {"submit_job"})
