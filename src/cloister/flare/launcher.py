# SPDX-License-Identifier: Apache-2.0
"""How NVFlare's job processes are started: a list of arguments, a small environment, no code of the job's.

A site's job process that dies is that site's failure and no more: NVFlare would fail the whole job when a site reports
a process that ended badly, although the job may do with fewer sites. So a bad end is reported as "unknown", the server
misses the site's heartbeat, and the controller goes on without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, FLMetaKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec, JobLauncherSpec, JobProcessArgs, JobReturnCode, add_launcher
from nvflare.utils.job_launcher_utils import get_client_job_args, get_credential_env, get_server_job_args

from cloister.certificates import passphrase
from cloister.certificates.passphrase import handed_over
from cloister.flare import server_process, site_process
from cloister.flare.leftover_updates import remove_leftover_updates

MARKER = "CLOISTER_FEDERATION"
"""Environment variable by which `down` recognises this federation's processes."""

# Everything else stays out: what an administrator's shell exports is no business of a job.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", MARKER)

# Ours look at the kit first, a site's takes fewer messages, and then they become NVFlare's.
_INSTEAD = {module.NVFLARE_MODULE: module.__name__ for module in (site_process, server_process)}


def job_environment() -> dict[str, str]:
    """The environment of a job process, without credentials."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # The process runs in its workspace; nothing that lies there may be imported.
    return environment | {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


class _Handle(JobHandleSpec):
    """A job process.

    Attributes:
        forgiving: whether a bad end is reported as unknown.
    """

    def __init__(self, process: subprocess.Popen[bytes], run_folder: Path, *, forgiving: bool) -> None:
        super().__init__()
        self._process = process
        self._run_folder = run_folder
        self._forgiving = forgiving
        self._terminated = False

    def terminate(self) -> None:
        """Ask it to end, then make it."""
        self._terminated = True
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def poll(self) -> int:
        """NVFlare's code for how it ended, or unknown while it runs."""
        code = self._process.poll()
        if code == 0:
            return int(JobReturnCode.SUCCESS)
        if code is None or self._forgiving:
            return int(JobReturnCode.UNKNOWN)
        aborted = self._terminated or code == JobReturnCode.ABORTED
        return int(JobReturnCode.ABORTED if aborted else JobReturnCode.EXECUTION_ERROR)

    def wait(self) -> None:
        """Wait for its end, and remove what it may have left of others' updates."""
        self._process.wait()
        remove_leftover_updates(self._run_folder)
        if self._forgiving:
            # NVFlare prefers this file to `poll` and would fail the whole job on what it says.
            (self._run_folder / FLMetaKey.PROCESS_RC_FILE).unlink(missing_ok=True)


class _Launcher(JobLauncherSpec, ABC):
    forgiving: bool

    @abstractmethod
    def arguments(self) -> list[str]:
        """Names of NVFlare's arguments for the process."""

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Start the process. Nothing in ``job_meta`` but the job's id has any effect."""
        known = fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS)
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        if not known or not workspace:
            raise RuntimeError("NVFlare gave no arguments for the job process")
        command = [sys.executable]
        for name in self.arguments():
            if name in known:
                option, value = known[name]
                value = _INSTEAD.get(value, value) if name == JobProcessArgs.EXE_MODULE else value
                # `--set` takes a list; everything else is one argument, whatever it contains.
                command += [option, *(str(value).split() if name == JobProcessArgs.OPTIONS else [str(value)])]
        environment = job_environment() | get_credential_env(known)
        run_folder = Path(workspace.get_run_dir(job_meta.get(JobConstants.JOB_ID)))
        # It opens the key for itself, so that no descriptor of an opened key is ever inherited.
        with handed_over(passphrase.own()) as (given, variables):
            process = subprocess.Popen(command, env=environment | variables, stdin=given, close_fds=True)
        return _Handle(process, run_folder, forgiving=self.forgiving)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Offer to launch whatever job there is."""
        if event_type == EventType.BEFORE_JOB_LAUNCH:
            add_launcher(self, fl_ctx)


class SiteLauncher(_Launcher):
    """Starts a site's job process."""

    forgiving = True

    def arguments(self) -> list[str]:
        """Names of NVFlare's arguments for a site's job process."""
        return list(get_client_job_args())


class ServerLauncher(_Launcher):
    """Starts the server's job process."""

    forgiving = False

    def arguments(self) -> list[str]:
        """Names of NVFlare's arguments for the server's job process."""
        return list(get_server_job_args())
