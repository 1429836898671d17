# SPDX-License-Identifier: Apache-2.0
"""Attempts in a federation that runs: a server and three sites, whose records all hold the canary.

After each, the server's whole workspace, its logs and its store of jobs are searched for it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nvflare.fuel.flare_api.api_spec import InternalError, InvalidJobDefinition

from cloister.errors import CloisterError
from cloister.flare import person_kit
from cloister.flare import session as session_module
from cloister.flare.job_view import JobView
from cloister.flare.session import connect
from cloister.flare.state import State
from cloister.jobs import Code
from cloister.repository import load_repository
from tests.federation_folder import JOB, OFFICER, PERSON, SITES, make_federation, records_of
from tests.flare.live import Live, ended, in_round
from tests.flare.signed_jobs import job_of
from tests.redteam import code, jobs, signers
from tests.redteam.attempts import BY_NAME, RUNNING
from tests.redteam.scene import CANARY, Job, Scene, holds

pytestmark = pytest.mark.flare

HOSTILE = Code(
    {
        "trainer.py": code.trainer_of(
            metrics="{'accuracy': 0.5, WORD: 1.0, 'loss ' + WORD: 2.0}",
            train="print(WORD * 3, file=sys.stderr); import os; os.write(1, WORD.encode())",
        )
    }
)
SENT = (
    "class-with-arguments",
    "client-api-command",
    "swarm-job",
    "filter-after-ours",
    "analytics-component",
    "custom-folder",
    "code-beside-the-document",
    "alias-bomb",
    "key-twice-in-document",
    "other-configuration-format",
    "oversized-config",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A federation whose policies approve one hostile trainer, and whose every record holds the canary."""
    rows = {site: [(f"{text} {CANARY}", label) for text, label in records_of(site)] for site in SITES}
    root = tmp_path_factory.mktemp("redteam") / "federation"
    federation = Live(make_federation(root, sites=rows, policy=code.approved(HOSTILE)))
    federation.cli("provision")
    federation.cli("policy", "sign", "--untested")
    try:
        federation.cli("up")
        yield federation
    finally:
        federation.cli("down", expect=None)


class Sent(Scene):
    """The same jobs, sent by a person to the server that runs; what it answers stands for every gate's answer."""

    live: Live
    answers: list[str]

    def submit(self, job: Job) -> str:
        """What the person reads, of the server at once or of the sites when the job has ended."""
        folder = self.folder / f"job-{len(list(self.folder.iterdir()))}" / JOB
        for path, text in job.files.items():
            if not path.rpartition("/")[2].startswith(".__nvfl"):  # NVFlare signs what a session sends
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(text)
        with self.live.session() as session:
            try:
                job_id = str(session._session.submit_job(str(folder)))
            except (InternalError, InvalidJobDefinition) as refused:
                self.answers.append(str(refused))
                return self.answers[-1]
            view = self.live.wait(session, job_id, ended)
        assert not view.completed
        self.answers.append("; ".join(view.refusals.values()))
        return self.answers[-1]

    def deploy(self, *_arguments: object, **_named: object) -> str:
        """Nobody can send to a site directly."""
        return self.answers[-1]

    def server_app(self, *_arguments: object) -> str:
        """Nor have the server run what it did not take."""
        return self.answers[-1]


@pytest.fixture
def sent(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sent:
    scene = Sent(live.root, tmp_path / "marker", tmp_path / "things", monkeypatch)
    scene.folder.mkdir()
    scene.live, scene.answers = live, []
    return scene


def nothing_at_the_server(live: Live) -> None:
    assert holds(State(live.root).server) == []
    assert holds(State(live.root).folder / "logs") == []


@pytest.mark.parametrize("name", SENT)
def test_hostile_jobs_for_real(live: Live, sent: Sent, name: str) -> None:
    answers = jobs.TRIES.by_name[name](sent)
    assert answers
    for said in answers:
        assert any(word in said for word in BY_NAME[name].words), said
        assert CANARY not in said
    assert not sent.marker.exists()
    nothing_at_the_server(live)


@pytest.mark.parametrize("name", ["another-jobs-manifest", "spliced-part"])
def test_jobs_that_are_not_what_was_signed_for_real(live: Live, sent: Sent, name: str) -> None:
    answers = signers.TRIES.by_name[name](sent)
    assert all(any(word in said for word in BY_NAME[name].words) for said in answers), answers


@dataclass(frozen=True)
class Run:
    """A whole job with hostile code, while which its submitter tried to configure its logging.

    Attributes:
        job_id: NVFlare's identifier.
        view: how it ended.
        told: what the server answered.
        marker: what the logging configuration would have made.
    """

    job_id: str
    view: JobView
    told: tuple[str, ...]
    marker: Path


@pytest.fixture(scope="module")
def run(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Run:
    marker = tmp_path_factory.mktemp("run") / "marker"
    called = {"()": "subprocess.Popen", "args": ["touch", str(marker)]}
    configuration = shlex.quote(json.dumps({"version": 1, "formatters": {"x": called}}))
    told = []
    with live.session() as session:
        job_id = session.submit(job_of(live.root, code="code/hostile"), list(SITES), code=HOSTILE)
        live.wait(session, job_id, in_round(1))
        for target in ("server", "all", "client alpha"):
            told.append(
                str(session._session.api.server_execute(f"configure_job_log {job_id} {target} {configuration}"))
            )
        return Run(job_id, live.wait(session, job_id, ended), tuple(told), marker)


def test_hostile_code_for_real(live: Live, run: Run) -> None:
    """It reads every record, and says them wherever it can; the job completes, and none of it has left."""
    assert run.view.completed, run.view
    live.cli("job", "fetch", run.job_id)
    written = State(live.root).folder.glob(f"sites/*/{run.job_id}/private/*.log")
    logs = [path.read_text(errors="replace") for path in written]
    assert len(logs) == len(SITES)
    assert all(CANARY in log for log in logs), "it did say it, where only the site hears it"
    nothing_at_the_server(live)
    assert holds(State(live.root).folder / "results") == []


def test_code_in_a_log_configuration(run: Run) -> None:
    """NVFlare lets whoever may manage a job configure its logging; such a configuration may call anything."""
    (words,) = BY_NAME["code-in-a-log-configuration"].words
    assert not run.marker.exists()
    assert [said for said in run.told if words not in said] == []


def test_deleted_privacy_file_for_real(live: Live) -> None:
    paths = [State(live.root).site(site) / "local" / "privacy.json" for site in SITES]
    before = {path: path.read_bytes() for path in paths}
    repo = load_repository(live.root)
    try:
        for path in paths:
            path.unlink()
        with live.session() as session:
            job_id = session.submit(repo.jobs[JOB], list(SITES))
            view = live.wait(session, job_id, ended)
    finally:
        for path, text in before.items():
            path.write_bytes(text)
    assert not view.completed
    (words,) = BY_NAME["deleted-privacy-file-for-real"].words
    assert sorted(view.refusals) == sorted(SITES)
    assert all(words in said for said in view.refusals.values()), view.refusals
    nothing_at_the_server(live)


def test_session_in_anothers_name(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_CONNECT_SECONDS", 4.0)  # there will be no answer
    monkeypatch.setattr(person_kit, "check_kit", lambda *_: None)  # an attacker's own program looks at nothing
    with pytest.raises(CloisterError) as caught, connect(State(live.root).person(OFFICER), PERSON) as session:
        session.connected_sites()
    assert any(word in str(caught.value) for word in BY_NAME["session-in-anothers-name"].words), caught.value


COMMANDS = (
    "cat server log.txt",
    "cat alpha startup/client.key",
    "head alpha local/resources.json",
    "tail server log.txt",
    "grep server PRIVATE log.txt",
    "ls server -al startup",
    "ls alpha -al startup",
    "pwd alpha",
    "pwd server",
    "report_env alpha",
    "sys_info server",
    "sys_info client alpha",
    "report_resources client alpha",
    "configure_site_log server DEBUG",
    "configure_site_log client alpha DEBUG",
    "shutdown client alpha",
    "shutdown server",
    "shutdown all",
    "restart client alpha",
    "restart server",
    "remove_client alpha",
    "disable_client alpha",
    "delete_workspace x",
    "list_studies",
    "register_study evil",
    "add_study_user default ada@research.example",
    "shell server id",
    "dead alpha 00000000-0000-4000-8000-000000000000",
    "list_sessions",
    "stress server alpha",
    "cells",
    "show_errors x all",
    "reset_errors x all",
    "show_stats x all",
    "show_scopes all",
    "delete_job 00000000-0000-4000-8000-000000000000",
    "get_job_log 00000000-0000-4000-8000-000000000000 server",
    "download_job_components 00000000-0000-4000-8000-000000000000",
    "clone_job 00000000-0000-4000-8000-000000000000",
)


def test_administrative_commands(live: Live) -> None:
    """NVFlare's console has them; Cloister's server does not know them, however they are sent."""
    words = BY_NAME["administrative-commands"].words
    with live.session() as session:
        told = {command: str(session._session.api.server_execute(command)) for command in COMMANDS}
        shown = str(session._session.api.server_execute("check_status all"))
        assert session.connected_sites() == sorted(SITES), "everybody is still there"
    assert all(site in shown for site in SITES)
    assert "token" not in shown.lower()
    assert {command: said for command, said in told.items() if not any(word in said for word in words)} == {}
    assert [word for word in words if not any(word in said for said in told.values())] == []
    assert [command for command, said in told.items() if "PRIVATE KEY" in said or CANARY in said] == []


def test_every_attempt_in_a_running_federation_has_its_test() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {attempt.name for attempt in RUNNING} <= tests
