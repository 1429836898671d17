# SPDX-License-Identifier: Apache-2.0
"""A job as NVFlare takes it: a folder with two apps, each a fixed configuration and the job's own document.

The configuration is the same for every job. Whatever differs stands in `job.yaml`, which travels byte for byte and is
read again, strictly, wherever it arrives. So a gate need not judge what a configuration may do: it compares it with the
one here, and any other is refused. There is never a `custom/` folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloister.documents import Document, parse
from cloister.errors import DeniedError
from cloister.files import json_text, private_folder, write_atomically, write_json
from cloister.flare.exchange import TaskName
from cloister.jobs import Job

CONTROLLER = "cloister.flare.controller.AdapterController"
EXECUTOR = "cloister.flare.executor.TrainingExecutor"

JOB_DOCUMENT = "job.yaml"
SERVER_APP, SITE_APP = "server_app", "site_app"

# NVFlare's own defaults wait seconds where a site is silent or idle (two for the next task, sixty for a dead site).
_SERVER_CONFIGURATION: dict[str, Any] = {
    "format_version": 2,
    "server": {"task_request_interval": 0.02},
    "dead_client_grace_period": 3.0,
    "dead_client_check_lead_time": 5.0,
    "end_run_readiness_check_interval": 0.05,
    "task_data_filters": [],
    "task_result_filters": [],
    "components": [],
    "workflows": [{"id": "adapter", "path": CONTROLLER, "args": {}}],
}

_SITE_CONFIGURATION: dict[str, Any] = {
    "format_version": 2,
    "default_task_fetch_interval": 0.02,
    "end_run_readiness_check_interval": 0.05,
    "task_data_filters": [],
    "task_result_filters": [],
    "components": [],
    "executors": [{"tasks": [task.value for task in TaskName], "executor": {"path": EXECUTOR, "args": {}}}],
}

_APPS = {
    SERVER_APP: ("config_fed_server.json", _SERVER_CONFIGURATION),
    SITE_APP: ("config_fed_client.json", _SITE_CONFIGURATION),
}

# What NVFlare's signing adds beside the files of a folder (nvflare.lighter.tool_consts).
_SIGNATURES = frozenset(
    folder + name for folder in ("", "config/") for name in (".__nvfl_sig.json", ".__nvfl_submitter.crt")
)


def write_job_folder(job: Document[Job], sites: Iterable[str], folder: Path) -> Path:
    """Write the NVFlare job of ``job`` into ``folder``, which must not exist.

    Args:
        job: its document.
        sites: names of the sites that are asked.
        folder: where to; its name becomes the job's folder name in NVFlare.
    """
    private_folder(folder)
    for app, (name, configuration) in _APPS.items():
        config = private_folder(folder / app / "config")
        write_json(config / name, configuration)
        write_atomically(config / JOB_DOCUMENT, job.text)
    write_json(folder / "meta.json", _meta(job.value, list(sites)))
    return folder


def _meta(job: Job, sites: list[str]) -> dict[str, Any]:
    return {
        "name": job.job,
        "resource_spec": {},
        "deploy_map": {SERVER_APP: ["server"], SITE_APP: sites},
        "min_clients": job.federation.minimum_sites,
        "mandatory_clients": [],
    }


def read_app(app: str, files: dict[str, bytes]) -> Document[Job]:
    """The job in an app, if the app is exactly what `write_job_folder` writes.

    Args:
        app: `server_app` or `site_app`.
        files: content of every file of the app by its path inside it; nothing else may lie in the app.

    Raises:
        DeniedError: where a file is missing, extra, or says anything but what Cloister writes.
        InvalidDocumentsError: where the job's document is invalid.
    """
    name, configuration = _APPS[app]
    wanted = {f"config/{name}", f"config/{JOB_DOCUMENT}"}
    found = files.keys() - _SIGNATURES
    if extra := sorted(found - wanted):
        raise DeniedError(f"the job carries `{extra[0][:200]}`", hint="jobs carry a document and no code")
    if missing := sorted(wanted - found):
        raise DeniedError(f"the job lacks `{missing[0]}`", hint="submit it with `cloister job submit`")
    if files[f"config/{name}"] != json_text(configuration):
        hint = "submit it with the same version of `cloister` as the site runs"
        raise DeniedError(f"the job's `{name}` is not the one that Cloister writes", hint=hint)
    return parse(files[f"config/{JOB_DOCUMENT}"], Job, name=f"jobs/{JOB_DOCUMENT}")
