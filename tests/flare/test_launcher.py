# SPDX-License-Identifier: Apache-2.0
"""How job processes are started, with trivial processes in the place of NVFlare's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, FLMetaKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobProcessArgs, JobReturnCode
from nvflare.apis.workspace import Workspace

from cloister.certificates import passphrase
from cloister.certificates.passphrase import DESCRIPTOR, VARIABLE
from cloister.files import private_folder
from cloister.flare.launcher import MARKER, ServerLauncher, SiteLauncher, _Launcher, job_environment
from cloister.flare.leftover_updates import RECEIVED, work_folder
from tests.flare.signed_jobs import job_id

TELL = (
    "import json, os, sys; json.dump([sys.argv, dict(os.environ), sys.path], open(os.environ['TMPDIR'] + '/told', 'w'))"
)
Launch = Callable[..., Any]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    root = tmp_path / "a site's workspace"
    for folder in ("startup", "local"):
        (root / folder).mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(root))
    return Workspace(str(root), site_name="alpha")


@pytest.fixture
def launch(workspace: Workspace) -> Iterator[Launch]:
    """Launches a Python program as a job's process; ends what is left of it."""
    handles = []

    def begin(launcher: _Launcher, program: str, identifier: str = "", **more: tuple[str, str]) -> Any:
        known = {JobProcessArgs.EXE_MODULE: ("-c", program), **more}
        fl_ctx = FLContext()
        fl_ctx.set_prop(FLContextKey.JOB_PROCESS_ARGS, known, private=True, sticky=False)
        fl_ctx.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True)
        handle = launcher.launch_job({"job_id": identifier or job_id()}, fl_ctx)
        handles.append(handle)
        return handle

    yield begin
    for handle in handles:
        handle._process.kill()
        handle._process.wait()


def told(workspace: Workspace) -> tuple[list[str], dict[str, str], list[str]]:
    argv, environment, path = json.loads((Path(workspace.get_root_dir()) / "told").read_text())
    return argv, environment, path


def test_every_argument_stays_one_whatever_it_holds(launch: Launch, workspace: Workspace) -> None:
    more = {
        JobProcessArgs.WORKSPACE: ("-w", workspace.get_root_dir()),
        JobProcessArgs.JOB_ID: ("-n", "id; rm -rf / $(id)"),
        JobProcessArgs.OPTIONS: ("--set", "secure_train=true org=alpha-hospital"),
    }
    launch(SiteLauncher(), TELL, **more).wait()
    assert told(workspace)[0] == [
        "-c",
        "-w",
        workspace.get_root_dir(),
        "-n",
        "id; rm -rf / $(id)",
        "--set",
        "secure_train=true",
        "org=alpha-hospital",
    ]


def test_arguments_that_are_not_nvflares_are_not_passed(launch: Launch, workspace: Workspace) -> None:
    launch(SiteLauncher(), TELL, evil=("--evil", "1"), **{JobProcessArgs.APP_ROOT: ("-r", "/")}).wait()
    assert told(workspace)[0] == ["-c"]


def test_the_environment_is_what_is_needed(
    launch: Launch, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PYTHONPATH", "LD_PRELOAD", "SSH_AUTH_SOCK", "http_proxy"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv(MARKER, "the mark")
    launch(SiteLauncher(), TELL).wait()
    _, environment, path = told(workspace)
    known = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", MARKER}
    assert set(environment) <= known | {"PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert environment[MARKER] == "the mark"
    assert "secret" not in environment.values()
    assert "" not in path


def test_nvflares_own_credentials_go_by_environment_and_not_by_argument(launch: Launch, workspace: Workspace) -> None:
    launch(SiteLauncher(), TELL, **{JobProcessArgs.AUTH_TOKEN: ("-t", "a-token")}).wait()
    argv, environment, _ = told(workspace)
    assert "a-token" not in argv
    assert "a-token" in environment.values()


@pytest.mark.parametrize("kind", [SiteLauncher, ServerLauncher])
def test_a_passphrase_goes_by_a_pipe_alone(
    launch: Launch, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: type[_Launcher]
) -> None:
    passphrase.forget()
    monkeypatch.setenv(VARIABLE, "a passphrase that is long enough")
    try:
        launch(kind(), TELL + "; open(os.environ['TMPDIR'] + '/read', 'wb').write(os.read(0, 100))").wait()
    finally:
        passphrase.forget()
    argv, environment, _ = told(workspace)
    assert (Path(workspace.get_root_dir()) / "read").read_bytes() == b"a passphrase that is long enough"
    assert environment[DESCRIPTOR] == "0"
    assert not [word for word in (*argv, *environment.values()) if "long enough" in word]
    assert VARIABLE not in environment


def test_the_job_environment_holds_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in job_environment().values()


@pytest.mark.parametrize(("kind", "code"), [(SiteLauncher, 0), (ServerLauncher, 0)])
def test_a_good_end_is_one_on_both_sides(launch: Launch, kind: type[_Launcher], code: int) -> None:
    handle = launch(kind(), "pass")
    handle.wait()
    assert handle.poll() == JobReturnCode.SUCCESS


@pytest.mark.parametrize(
    "program", ["raise SystemExit(1)", "raise SystemExit(9)", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_bad_end_at_a_site_is_unknown_and_at_the_server_a_failure(launch: Launch, program: str) -> None:
    site, server = launch(SiteLauncher(), program), launch(ServerLauncher(), program)
    site.wait()
    server.wait()
    assert site.poll() == JobReturnCode.UNKNOWN
    assert server.poll() in (JobReturnCode.EXECUTION_ERROR, JobReturnCode.ABORTED)


def test_a_running_process_is_neither(launch: Launch) -> None:
    for kind in (SiteLauncher, ServerLauncher):
        assert launch(kind(), "import time; time.sleep(60)").poll() == JobReturnCode.UNKNOWN


def test_a_process_that_was_asked_to_end_was_aborted(launch: Launch) -> None:
    handle = launch(ServerLauncher(), "import time; time.sleep(60)")
    handle.terminate()
    assert handle.poll() == JobReturnCode.ABORTED


def test_a_process_that_does_not_listen_is_killed(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[2], 'w'); time.sleep(60)"
    ready = Path(os.environ["TMPDIR"]) / "ready"
    handle = launch(SiteLauncher(), program, **{JobProcessArgs.WORKSPACE: ("-w", str(ready))})
    deadline = time.monotonic() + 10
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    wait = handle._process.wait
    monkeypatch.setattr(handle._process, "wait", lambda timeout=None: wait(timeout and 0.1))
    handle.terminate()
    assert wait(10) == -signal.SIGKILL


def test_what_a_sites_process_wrote_of_its_end_is_removed(launch: Launch, workspace: Workspace) -> None:
    for kind, remains in ((SiteLauncher, False), (ServerLauncher, True)):
        identifier = job_id()
        folder = Path(workspace.get_run_dir(identifier))
        folder.mkdir()
        (folder / FLMetaKey.PROCESS_RC_FILE).write_text("101")
        launch(kind(), "pass", identifier).wait()
        assert (folder / FLMetaKey.PROCESS_RC_FILE).exists() is remains


@pytest.mark.parametrize("kind", [SiteLauncher, ServerLauncher])
def test_updates_that_a_killed_process_left_are_removed(
    launch: Launch, workspace: Workspace, kind: type[_Launcher]
) -> None:
    identifier = job_id()
    run = Path(workspace.get_run_dir(identifier))
    for folder in (work_folder(run / "cloister"), run / RECEIVED):
        (private_folder(folder) / "alpha").write_bytes(b"an update")
    launch(kind(), "import os; os.kill(os.getpid(), 9)", identifier).wait()
    assert list(run.iterdir()) == []


def test_without_nvflares_arguments_nothing_is_started() -> None:
    before = len(psutil.Process().children())
    with pytest.raises(RuntimeError, match="no arguments"):
        SiteLauncher().launch_job({"job_id": job_id()}, FLContext())
    assert len(psutil.Process().children()) == before


def test_it_offers_itself_before_a_launch_only() -> None:
    fl_ctx, launcher = FLContext(), SiteLauncher()
    launcher.handle_event(EventType.START_RUN, fl_ctx)
    assert not fl_ctx.get_prop(FLContextKey.JOB_LAUNCHER)
    launcher.handle_event(EventType.BEFORE_JOB_LAUNCH, fl_ctx)
    assert fl_ctx.get_prop(FLContextKey.JOB_LAUNCHER) == [launcher]
