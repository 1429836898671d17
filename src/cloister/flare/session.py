# SPDX-License-Identifier: Apache-2.0
"""A person's conversation with the server, over mutual TLS with that person's own certificate."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import RunStatus
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    InvalidJobDefinition,
    InvalidTarget,
    JobNotDone,
    JobNotFound,
    JobNotRunning,
    NoConnection,
    NoReply,
    SessionClosed,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from cloister.documents import Document
from cloister.errors import CloisterError, DeniedError, FederationError, JobError, UsageError
from cloister.files import private_folder
from cloister.flare.controller import PROGRESS, RESULT
from cloister.flare.job_folder import write_job_folder
from cloister.flare.job_signing import signed_manifest
from cloister.flare.job_view import JobView, failure_of, view_of
from cloister.flare.letters import exchange_letters
from cloister.flare.mailbox import ask
from cloister.flare.opened_key import key_opened
from cloister.flare.person_kit import write_person_kit
from cloister.flare.result import RESULT_FILE, check_place, read_result, take_over, trains_nothing
from cloister.flare.running_trust import trust_as_person
from cloister.flare.traffic import COLLECT, DEPOSIT, SYNC
from cloister.flare.trust_watch import TrustWatch
from cloister.jobs import Code, Job

VALID = timedelta(hours=24)
"""How long a submitted job may be admitted, where nothing else is said."""

_CONNECT_SECONDS = 15.0
_UNREACHED_HINT = "see `cloister status`; start it with `cloister up`"


class PersonSession:
    """An open session; use `connect`."""

    def __init__(self, session: Session, person: str, kit: Path) -> None:
        self._session = session
        self.person = person
        self._kit = kit

    def connected_sites(self) -> list[str]:
        """Names of the sites that are connected to the server."""
        with _translated():
            return sorted(str(client.name) for client in self._session.get_connected_client_list())

    def collect(self) -> dict[str, bytes]:
        """The requests for certificates that wait at the server, by the name of whoever asks.

        Raises:
            DeniedError: where this person does not carry letters.
        """
        found = ask(self._session.api.cell, COLLECT, {})["requests"]
        return {str(name): str(content).encode() for name, content in dict(found).items()}

    def deposit(self, rosters: Iterable[bytes], grants: Mapping[str, bytes]) -> dict[str, Any]:
        """Leave what the authority has signed at the server.

        Args:
            rosters: signed, in the order of their versions.
            grants: certificates in PEM form by name; the rosters list them.

        Returns:
            `roster`, the version in force at the server; `grants`, the names that were taken; `refused`, reasons by
            what was not.

        Raises:
            DeniedError: where this person does not carry letters.
        """
        brought = {
            "rosters": [content.decode() for content in rosters],
            "grants": {name: content.decode() for name, content in grants.items()},
        }
        return ask(self._session.api.cell, DEPOSIT, brought)

    def sync(self) -> bool:
        """Take up a newer roster, ask for the next certificate where it is time, and put it in place if it has come.

        Returns:
            Whether the certificate is another now.
        """
        watch = TrustWatch(self._kit)
        return exchange_letters(self.person, watch, lambda body: ask(self._session.api.cell, SYNC, body))

    def server_state(self) -> dict[str, str]:
        """The server's `time` (ISO 8601) and the `version` of Cloister that it runs."""
        answer = ask(self._session.api.cell, SYNC, {"version": 1 << 53, "have": "", "request": None})
        return {"time": str(answer["time"]), "version": str(answer["version"])}

    def submit(
        self, job: Document[Job], sites: list[str], *, code: Code | None = None, valid: timedelta = VALID
    ) -> str:
        """Submit a job, signed with this person's key; returns its identifier.

        Args:
            job: its document.
            sites: who is asked.
            code: the training code that it brings.
            valid: for how long from now on it may be admitted.

        Raises:
            DeniedError: where the server refuses it.
            ProvisioningError: where this person's kit cannot sign.
        """
        manifest = signed_manifest(job, sites, self._kit, self.person, datetime.now(UTC), valid, code=code)
        with tempfile.TemporaryDirectory(prefix="submit-") as name, _translated():
            folder = write_job_folder(job, sites, manifest, Path(name) / job.value.job, code)
            return str(self._session.submit_job(str(folder)))

    def jobs(self) -> list[JobView]:
        """Every job that the server knows, newest first."""
        with _translated():
            found = self._session.list_jobs(detailed=True)
        views = [view_of(meta) for meta in found]
        return sorted(views, key=lambda view: view.submitted, reverse=True)

    def job(self, job_id: str) -> JobView:
        """One job, with its progress while it runs."""
        with _translated():
            meta = self._session.get_job_meta(job_id)
        return view_of(meta, self._progress(job_id, str(meta.get("status", ""))))

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
            folder: where to; an earlier result there is replaced.

        Returns:
            The content of `result.json`.

        Raises:
            UsageError: where something else than a result lies in ``folder``.
            JobError: where the job left no result; quotes its reason where it gave one.
        """
        check_place(folder)
        view = self.job(job_id)
        if not view.finished:
            raise JobError(
                f"job `{job_id}` has not ended: it is {view.status.lower()}", hint="see `cloister job watch`"
            )
        if not folder.parent.exists():  # one that is there is somebody else's to open or close
            private_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
            with _translated():
                location = Path(self._session.download_job_result(job_id, name))
            found = next(iter(sorted(location.rglob(f"{RESULT}/{RESULT_FILE}"))), None)
            if found is None:
                raise failure_of(view, location)
            result = read_result(found)
            if result["job_id"] != job_id:
                raise JobError(f"the server sent the result of another job than `{job_id}`")
            staged = private_folder(Path(name) / "staged")
            take_over(found.parent, staged, None if trains_nothing(result) else str(result["adapter_sha256"]))
            if folder.exists():
                folder.replace(Path(name) / "earlier")
            staged.replace(folder)
        return result

    def failure(self, view: JobView) -> JobError | DeniedError:
        """Why a job that ended did not complete, as well as can be told to this person.

        Args:
            view: the job, with the last progress that was seen of it.
        """
        with tempfile.TemporaryDirectory(prefix="failure-") as name:
            try:
                with _translated():
                    location = Path(self._session.download_job_result(view.job_id, name))
                return failure_of(view, location)
            except DeniedError:
                hint = f"its submitter `{view.submitter}` may fetch more than you may see"
                return failure_of(view, None, hint=hint)
            except (CloisterError, OSError):
                return failure_of(view, None)


@contextlib.contextmanager
def connect(kit: Path, person: str) -> Iterator[PersonSession]:
    """Open a session with a person's kit.

    Raises:
        FederationError: where the server cannot be reached or does not accept the person.
    """
    logging.getLogger("nvflare").setLevel(logging.CRITICAL)
    write_person_kit(kit, person)
    _knock(kit, person)
    reasons: list[str] = []
    with key_opened(kit / "startup" / "client.key"), trust_as_person(reasons.append):
        session = _opened(kit, person, reasons)
        try:
            yield PersonSession(session, person, kit)
        finally:
            with contextlib.suppress(Exception), _quiet():
                session.close()


def _opened(kit: Path, person: str, reasons: list[str]) -> Session:
    """An open session.

    Args:
        kit: the person's.
        person: their name.
        reasons: why there was no connection, as it becomes known meanwhile.

    Raises:
        FederationError: where there is none within some seconds.
    """
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            with _quiet():
                return new_secure_session(person, str(kit), timeout=5.0)
        except (AuthenticationError, AuthorizationError) as error:
            raise FederationError(f"the server does not accept `{person}`") from error
        except Exception as error:
            if reasons:
                raise FederationError(reasons[-1]) from error
            if time.monotonic() > deadline:
                raise FederationError("the server cannot be reached", hint=_UNREACHED_HINT) from error
            time.sleep(0.3)


def _knock(kit: Path, person: str) -> None:
    """See that something listens where the server should be; NVFlare would try for a long time.

    Raises:
        FederationError: where the person has no kit, or nothing listens.
    """
    try:
        admin = json.loads((kit / "startup" / "fed_admin.json").read_bytes())["admin"]
        place = str(admin["host"]), int(admin["port"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FederationError(f"`{person}` has no kit yet", hint="run `cloister up`") from error
    try:
        socket.create_connection(place, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        message = f"the server cannot be reached at {place[0]}:{place[1]}"
        raise FederationError(message, hint=_UNREACHED_HINT) from error


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
        hint = "jobs are submitted by data scientists, and stopped and fetched by whoever submitted them"
        raise DeniedError("the server does not allow this to you", hint=hint) from error
    except (NoConnection, NoReply, ConnectionError, TimeoutError) as error:
        raise FederationError("the server does not answer", hint="see `cloister status`") from error
    except InvalidJobDefinition as error:
        said = " ".join(str(error).split()).removeprefix("invalid job definition: ")
        raise DeniedError(f"the server refuses the job: {said[:500]}") from error
    except (InternalError, InvalidTarget, SessionClosed, RuntimeError) as error:
        raise FederationError(f"the server failed: {' '.join(str(error).split())[:500]}") from error
