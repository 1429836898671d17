# SPDX-License-Identifier: Apache-2.0
"""A job as NVFlare takes it: a folder with two apps, each a fixed configuration and the job's own document.

The configuration is the same for every job. Whatever differs stands in `job.yaml`, which travels byte for byte and is
read again, strictly, wherever it arrives. So a gate need not judge what a configuration may do: it compares it with the
one here, and any other is refused. There is never a `custom/` folder.

The submitter's signed manifest lies in both apps, because a site receives one of them and nothing else of the job.
Where the document names training code, that lies in the site's app as one file of data, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cloister.documents import Document, parse
from cloister.errors import DeniedError, JobError
from cloister.files import canonical_json, json_text, private_folder, sha256_of, write_atomically, write_json
from cloister.flare.exchange import TaskName
from cloister.jobs import Code, Job
from cloister.jobs.manifest import CODE_PATH

CONTROLLER = "cloister.flare.controller.AdapterController"
EXECUTOR = "cloister.flare.executor.TrainingExecutor"

JOB_DOCUMENT = "job.yaml"
MANIFEST = "config/manifest.json"
SERVER_APP = "server_app"
SITE_APP, _, CODE = CODE_PATH.partition("/")  # the manifest states the code's digest by this very path

# NVFlare's own defaults wait seconds where a site is silent or idle (sixty for a dead site). Its sites ask for tasks
# all the while; none come that way (`cloister.flare.task_sender`), and by asking they show that they are alive.
_SERVER_CONFIGURATION: dict[str, Any] = {
    "format_version": 2,
    "server": {"task_request_interval": 0.5},
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
    "default_task_fetch_interval": 0.5,
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
SIGNATURE_FILES = (".__nvfl_sig.json", ".__nvfl_submitter.crt")
_SIGNATURES = frozenset(folder + name for folder in ("", "config/") for name in SIGNATURE_FILES)


@dataclass(frozen=True)
class App:
    """What an app holds.

    Attributes:
        job: the job's document.
        manifest: the envelope with the submitter's manifest, not yet verified.
        files: content of every file of the app by its path inside it, as the manifest lists them: without the manifest
            itself and NVFlare's signatures.
        code: the training code that travels with the job; None where there is none.
    """

    job: Document[Job]
    manifest: bytes
    files: Mapping[str, bytes]
    code: Code | None = None

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the names and digests of all its files and of its manifest."""
        digests = {path: sha256_of(content) for path, content in self.files.items()}
        return sha256_of(canonical_json(digests | {MANIFEST: sha256_of(self.manifest)}))


def files_of_job(job: Document[Job], code: Code | None = None) -> dict[str, bytes]:
    """Content of every file of both apps by its path inside the job's folder, without the manifest.

    Args:
        job: its document.
        code: the training code that it brings.

    Raises:
        JobError: where ``code`` is not given and the document names some, or the reverse.
    """
    if (code is None) != (job.value.code is None):
        raise JobError("the job and its training code do not belong together")
    files: dict[str, bytes] = {}
    for app, (name, configuration) in _APPS.items():
        files[f"{app}/config/{name}"] = json_text(configuration)
        files[f"{app}/config/{JOB_DOCUMENT}"] = job.text
    if code is not None:
        files[f"{SITE_APP}/{CODE}"] = code.to_bytes()
    return files


def write_job_folder(
    job: Document[Job], sites: Iterable[str], manifest: bytes, folder: Path, code: Code | None = None
) -> Path:
    """Write the NVFlare job of ``job`` into ``folder``, which must not exist.

    Args:
        job: its document.
        sites: names of the sites that are asked.
        manifest: the signed manifest of `files_of_job`.
        folder: where to; its name becomes the job's folder name in NVFlare.
        code: the training code that it brings.
    """
    private_folder(folder)
    for path, content in files_of_job(job, code).items():
        private_folder((folder / path).parent)
        write_atomically(folder / path, content)
    for app in _APPS:
        write_atomically(folder / app / MANIFEST, manifest)
    write_json(folder / "meta.json", meta_of(job.value, sites))
    return folder


def meta_of(job: Job, sites: Iterable[str]) -> dict[str, Any]:
    """What NVFlare is told of ``job`` when it is to run at ``sites``."""
    return {
        "name": job.job,
        "resource_spec": {},
        "deploy_map": {SERVER_APP: ["server"], SITE_APP: sorted(sites)},
        "min_clients": job.federation.minimum_sites,
        "mandatory_clients": [],
    }


def read_app(app: str, files: Mapping[str, bytes]) -> App:
    """What an app holds, if that is exactly what `write_job_folder` writes.

    Args:
        app: `server_app` or `site_app`.
        files: content of every file of the app by its path inside it; nothing else may lie in the app.

    Raises:
        DeniedError: where a file is missing, extra, or says anything but what Cloister writes.
        InvalidDocumentsError: where the job's document is invalid.
    """
    name, configuration = _APPS[app]
    wanted = {f"config/{name}", f"config/{JOB_DOCUMENT}", MANIFEST}
    found = files.keys() - _SIGNATURES
    may = wanted | {CODE} if app == SITE_APP else wanted
    if extra := sorted(found - may):
        hint = "jobs carry a document, and code only as `code` in it says"
        raise DeniedError(f"the job carries `{extra[0][:200]}`", hint=hint)
    if missing := sorted(wanted - found):
        raise DeniedError(f"the job lacks `{missing[0]}`", hint="submit it with `cloister job submit`")
    if files[f"config/{name}"] != json_text(configuration):
        hint = "submit it with the same version of `cloister` as the site runs"
        raise DeniedError(f"the job's `{name}` is not the one that Cloister writes", hint=hint)
    job = _named(parse(files[f"config/{JOB_DOCUMENT}"], Job, name=f"jobs/{JOB_DOCUMENT}"))
    listed = {path: files[path] for path in sorted(found - {MANIFEST})}
    return App(job, files[MANIFEST], listed, _code(listed, job.value) if app == SITE_APP else None)


def _named(job: Document[Job]) -> Document[Job]:
    """``job`` with the file's name that its submitter knows: a job's document bears the job's name."""
    return replace(job, source=replace(job.source, file=f"jobs/{job.value.job}.yaml"))


def _code(files: Mapping[str, bytes], job: Job) -> Code | None:
    if (CODE in files) != (job.code is not None):
        said = "lacks the training code" if job.code else "carries training code"
        raise DeniedError(f"the job {said} that its document {'names' if job.code else 'does not name'}")
    return Code.from_bytes(files[CODE]) if CODE in files else None
