# SPDX-License-Identifier: Apache-2.0
"""A person's conversation with the server, over mutual TLS with that person's own certificate."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import RunStatus
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    JobNotDone,
    JobNotFound,
    JobNotRunning,
    NoConnection,
    NoReply,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from nvflare.private.defs import ERROR_MSG_PREFIX

from cloister.documents import Document
from cloister.errors import DeniedError, FederationError, JobError, UsageError
from cloister.files import private_folder, sha256_of, write_atomically
from cloister.flare.controller import PROGRESS, RESULT
from cloister.flare.job_folder import write_job_folder
from cloister.jobs import Job

_CONNECT_SECONDS = 15.0

_ADAPTER = "adapter/adapter_model.safetensors"
_RESULT_FILES = ("result.json", "adapter/adapter_config.json", _ADAPTER)

_FINISHED = "FINISHED"
_DEPLOYED = "OK"


@dataclass(frozen=True)
class JobView:
    """What the server says of a job.

    Attributes:
        job_id: NVFlare's identifier.
        name: the job's.
        status: NVFlare's word.
        submitter: who submitted it.
        submitted: when, ISO 8601.
        refusals: sites that did not admit it, with their reasons.
        progress: see `cloister.flare.rounds.Rounds.progress`; empty where the job's process does not run.
    """

    job_id: str
    name: str
    status: str
    submitter: str = ""
    submitted: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status.startswith(_FINISHED)

    @property
    def completed(self) -> bool:
        """Whether it ended as it should."""
        return self.status == str(RunStatus.FINISHED_COMPLETED.value)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "job_id": self.job_id,
            "name": self.name,
            "status": self.status,
            "submitter": self.submitter,
            "submitted": self.submitted,
            "refusals": self.refusals,
            "progress": self.progress,
        }


class PersonSession:
    """An open session; use `connect`."""

    def __init__(self, session: Session, person: str) -> None:
        self._session = session
        self.person = person

    def connected_sites(self) -> list[str]:
        """Names of the sites that are connected to the server."""
        with _translated():
            return sorted(str(client.name) for client in self._session.get_connected_client_list())

    def submit(self, job: Document[Job], sites: list[str]) -> str:
        """Submit a job, signed with this person's key; returns its identifier."""
        with tempfile.TemporaryDirectory(prefix="submit-") as name, _translated():
            folder = write_job_folder(job, sites, Path(name) / job.value.job)
            return str(self._session.submit_job(str(folder)))

    def jobs(self) -> list[JobView]:
        """Every job that the server knows, newest first."""
        with _translated():
            found = self._session.list_jobs(detailed=True)
        views = [_view(meta) for meta in found]
        return sorted(views, key=lambda view: view.submitted, reverse=True)

    def job(self, job_id: str) -> JobView:
        """One job, with its progress while it runs."""
        with _translated():
            meta = self._session.get_job_meta(job_id)
        return _view(meta, self._progress(job_id, str(meta.get("status", ""))))

    def _progress(self, job_id: str, status: str) -> dict[str, Any]:
        if status != RunStatus.RUNNING.value:
            return {}
        try:
            with _quiet():
                return dict(self._session.do_app_command(job_id, PROGRESS, {"of": job_id}))
        except Exception:  # noqa: BLE001 - the job's process starts or ends just now: there is no progress to show
            return {}

    def abort(self, job_id: str) -> None:
        """Stop a job."""
        with _translated():
            self._session.abort_job(job_id)

    def fetch(self, job_id: str, folder: Path) -> dict[str, Any]:
        """Download what the server's job process wrote.

        Args:
            job_id: NVFlare's identifier.
            folder: where to; replaced.

        Returns:
            The content of `result.json`.

        Raises:
            JobError: where the job left no result; quotes its reason where it gave one.
        """
        view = self.job(job_id)
        if not view.finished:
            raise JobError(
                f"job `{job_id}` has not ended: it is {view.status.lower()}", hint="see `cloister job watch`"
            )
        private_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
            with _translated():
                location = Path(self._session.download_job_result(job_id, name))
            found = next(iter(sorted(location.rglob(f"{RESULT}/result.json"))), None)
            if found is None:
                raise failure_of(view, location)
            result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
            if result.get("job_id") != job_id:
                raise JobError(f"the server sent the result of another job than `{job_id}`")
            staged = private_folder(Path(name) / "staged")
            _take_over(found.parent, staged, str(result["adapter_sha256"]))
            shutil.rmtree(folder, ignore_errors=True)
            staged.replace(folder)
        return result

    def failure(self, job_id: str) -> JobError | DeniedError:
        """Why a job that ended did not complete, as well as can be told."""
        view = self.job(job_id)
        with tempfile.TemporaryDirectory(prefix="failure-") as name:
            try:
                with _translated():
                    location = Path(self._session.download_job_result(job_id, name))
                return failure_of(view, location)
            except (JobError, FederationError, OSError):
                return failure_of(view, None)


def _take_over(downloaded: Path, staged: Path, adapter_sha256: str) -> None:
    """Copy the files of a result that are known, readable by their owner alone.

    Raises:
        JobError: where a file is missing, or the adapter is not the one that the result names.
    """
    private_folder(staged / "adapter")
    try:
        contents = {name: (downloaded / name).read_bytes() for name in _RESULT_FILES}
    except OSError as error:
        raise JobError("the server sent a result that is not complete") from error
    if sha256_of(contents[_ADAPTER]) != adapter_sha256:
        raise JobError("the server sent an adapter that is not the one its result names")
    for name, content in contents.items():
        write_atomically(staged / name, content)


def failure_of(view: JobView, location: Path | None) -> JobError | DeniedError:
    """The error that says why a job did not complete."""
    if view.refusals and view.status == RunStatus.FAILED_TO_RUN.value:
        reasons = "\n".join(f"  {site}: {reason}" for site, reason in sorted(view.refusals.items()))
        denied = any("denied:" in reason for reason in view.refusals.values())
        kind = DeniedError if denied else JobError
        return kind(f"job `{view.name}` was not admitted by enough sites\n{reasons}")
    written = sorted(location.rglob(f"{RESULT}/failure.json")) if location else []
    if written:
        progress = json.loads(written[0].read_text(encoding="utf-8"))
        refused = all(not site["rounds"] for site in progress["sites"].values()) and progress["round"] == 0
        denied = refused and any(site["state"] == "refused" for site in progress["sites"].values())
        return (DeniedError if denied else JobError)(f"job `{view.name}` failed: {progress['reason']}")
    if view.status == RunStatus.FINISHED_ABORTED.value:
        return JobError(f"job `{view.name}` was aborted")
    hint = f"the server's administrator finds the reason in its log, .cloister/server/{view.job_id}/log.txt"
    said = view.status.removeprefix("FINISHED:").replace("_", " ").lower()
    return JobError(f"job `{view.name}` ended without a result: the server's job process ended with {said}", hint=hint)


def _view(meta: Any, progress: dict[str, Any] | None = None) -> JobView:
    values: dict[str, Any] = dict(meta)
    refusals: dict[str, str] = {}
    for line in values.get("job_deploy_detail") or []:
        site, _, said = str(line).partition(": ")
        if said and said.strip() != _DEPLOYED and site != "server":
            refusals[site] = said.removeprefix(f"{ERROR_MSG_PREFIX}: ").strip()
    return JobView(
        job_id=str(values.get("job_id", "")),
        name=str(values.get("name") or values.get("job_name") or ""),
        status=str(values.get("status", "")),
        submitter=str(values.get("submitter_name", "")),
        submitted=str(values.get("submit_time_iso") or values.get("submit_time") or ""),
        refusals=refusals,
        progress=progress or {},
    )


@contextlib.contextmanager
def connect(kit: Path, person: str) -> Iterator[PersonSession]:
    """Open a session with a person's kit.

    Raises:
        FederationError: where the server cannot be reached or does not accept the person.
    """
    logging.getLogger("nvflare").setLevel(logging.CRITICAL)
    if not (kit / "startup" / "fed_admin.json").exists():
        raise FederationError(f"`{person}` has no kit yet", hint="run `cloister up`")
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            with _quiet():
                session = new_secure_session(person, str(kit), timeout=5.0)
            break
        except (AuthenticationError, AuthorizationError) as error:
            raise FederationError(f"the server does not accept `{person}`") from error
        except Exception as error:
            if time.monotonic() > deadline:
                hint = "see `cloister status`; start it with `cloister up`"
                raise FederationError("the server cannot be reached", hint=hint) from error
            time.sleep(0.3)
    try:
        yield PersonSession(session, person)
    finally:
        with contextlib.suppress(Exception), _quiet():
            session.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what NVFlare prints off standard output, which carries our JSON."""
    with contextlib.redirect_stdout(sys.stderr if sys.flags.dev_mode else _Nowhere()):
        yield


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return None


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn NVFlare's exceptions into ours."""
    try:
        with _quiet():
            yield
    except JobNotFound as error:
        raise UsageError("the server knows no such job", hint="see `cloister job list`") from error
    except (JobNotRunning, JobNotDone) as error:
        raise JobError(" ".join(str(error).lower().split()) or "the job is not in that state") from error
    except (AuthorizationError, AuthenticationError) as error:
        raise DeniedError("the server does not allow this to you") from error
    except (NoConnection, NoReply, ConnectionError, TimeoutError) as error:
        raise FederationError("the server does not answer", hint="see `cloister status`") from error
    except InternalError as error:
        raise FederationError(f"the server failed: {' '.join(str(error).split())[:500]}") from error
