# SPDX-License-Identifier: Apache-2.0
"""What a person is told by a session; NVFlare's own session, which needs a server, is the one part that is not real."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from nvflare.fuel.flare_api.api_spec import AuthorizationError, InternalError, InvalidJobDefinition, SessionClosed
from nvflare.fuel.flare_api.flare_api import Session

from cloister.errors import DeniedError, ExitStatus, FederationError, JobError, ProvisioningError, UsageError
from cloister.files import sha256_of, write_json
from cloister.flare.job_view import JobView
from cloister.flare.session import PersonSession, connect
from cloister.flare.state import State
from tests.federation_folder import OFFICER, PERSON
from tests.flare.signed_jobs import provisioned
from tests.reports.finished_job import finished_job

META = {"job_id": "an-id", "name": "triage", "status": "FINISHED:COMPLETED", "submitter_name": "ada@research.example"}
FAILED = JobView("an-id", "triage", "FINISHED:EXECUTION_EXCEPTION", "ada@research.example")


class Server:
    """Answers as NVFlare's session would: with what a job left, or with an error."""

    def __init__(self, left: Path | None = None, error: Exception | None = None) -> None:
        self.left, self.error = left, error

    def get_job_meta(self, _job_id: str) -> dict[str, Any]:
        return META

    def download_job_result(self, _job_id: str, _destination: str) -> str:
        if self.error:
            raise self.error
        return str(self.left)


def session(left: Path | None = None, error: Exception | None = None) -> PersonSession:
    return PersonSession(cast(Session, Server(left, error)), "ada@research.example", Path())


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left")
    result = finished_job(folder)
    adapter = (folder / "cloister" / "adapter" / "adapter_model.safetensors").read_bytes()
    assert result["adapter_sha256"] == sha256_of(adapter)
    return folder


def test_a_result_replaces_an_earlier_one_and_leaves_the_folder_around_it_as_it_was(left: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    place = tmp_path / "result"
    for _ in range(2):
        session(left).fetch("an-id", place)
        (place / "from-before").write_text("")
    session(left).fetch("an-id", place)
    assert {path.name for path in place.iterdir()} == {"result.json", "adapter"}
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_folder_with_other_files_is_left_alone(left: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError):
        session(left).fetch("an-id", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_result_of_another_job_is_refused(left: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="another job"):
        session(left).fetch("other-id", tmp_path / "result")
    assert not (tmp_path / "result").exists()


def test_somebody_who_may_not_fetch_learns_that_it_failed_and_whom_to_ask() -> None:
    error = session(error=AuthorizationError("no")).failure(FAILED)
    assert error.exit_status is ExitStatus.FAILED
    assert "ended with execution exception" in error.message
    assert "ada@research.example" in error.hint


@pytest.mark.parametrize("raised", [InternalError("x"), SessionClosed("x"), RuntimeError("x"), ConnectionError("x")])
def test_a_download_that_fails_does_not_hide_that_the_job_failed(raised: Exception) -> None:
    assert "ended with execution exception" in session(error=raised).failure(FAILED).message


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (InvalidJobDefinition("invalid job definition: no such site"), DeniedError),
        (SessionClosed("closed"), FederationError),
        (AuthorizationError("no"), DeniedError),
    ],
)
def test_errors_of_nvflares_become_ours(tmp_path: Path, raised: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        session(error=raised).fetch("an-id", tmp_path / "result")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Ada's workspace, in a federation whose server does not run."""
    return State(provisioned(tmp_path)).person(PERSON)


def test_where_nothing_listens_it_is_said_at_once(kit: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_json(kit.parents[1] / "port.json", {"port": port})
    message = f"cannot be reached at localhost:{port}"
    with pytest.raises(FederationError, match=message), connect(kit, PERSON):
        pytest.fail("there is a session with nobody")
    # What somebody wrote into the kit does not last: the roster says where the server is.
    (kit / "startup" / "fed_admin.json").write_text(json.dumps({"admin": {"host": "127.0.0.1", "port": 1}}))
    with pytest.raises(FederationError, match=message), connect(kit, PERSON):
        pytest.fail("there is a session with nobody")


MISSING = {
    r"the signed roster `.*` is missing": "trust/roster.json",
    r"rootCA\.pem` is missing": "startup/rootCA.pem",
    r"has no kit yet": "startup/client.key",
    r"client\.crt` is missing": "startup/client.crt",
    r"the server's port is `auto`": "../../port.json",
}


@pytest.mark.parametrize("words", MISSING)
def test_without_a_whole_kit_nobody_is_called(kit: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_a, **_k: pytest.fail("somebody was called"))
    (kit / MISSING[words]).unlink()
    with pytest.raises((ProvisioningError, FederationError), match=words), connect(kit, PERSON):
        pytest.fail("there is a session with nobody")


def test_a_folder_is_not_believed_about_whose_it_is(kit: Path) -> None:
    with pytest.raises(ProvisioningError, match="differs from the roster's entry"), connect(kit, OFFICER):
        pytest.fail("there is a session with nobody")
    with pytest.raises(ProvisioningError, match="is not a person of version 1 of the roster"), connect(kit, "alpha"):
        pytest.fail("there is a session with nobody")
