# SPDX-License-Identifier: Apache-2.0
"""Where an attempt is made: a provisioned federation that runs no process, with the real gates of its server and site.

A hostile submitter signs whatever they like, manifest and all, with a key that counts. So what refuses is never the
lack of a signature, unless that is the attempt.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.files import canonical_json
from cloister.flare import admission, submitted_job
from cloister.flare.admission import Admission
from cloister.flare.app_check import ServerAppCheck
from cloister.flare.commands import CheckedDeployProcessor
from cloister.flare.job_folder import MANIFEST, SERVER_APP, SITE_APP, files_of_job, meta_of
from cloister.flare.state import State
from cloister.flare.submission import refusal_of
from cloister.flare.submitted_job import refusal_of_job
from cloister.governance.job_manifest import sign_manifest
from cloister.jobs import Code
from cloister.jobs.manifest import Manifest
from tests.federation_folder import JOB, PERSON, SITES
from tests.flare.signed_jobs import META, SITE, admitted_records, job_id, job_of, meta_of_person, sign, zip_of

CANARY = "canary-5f2c91d07be34a68"
"""What an attempt carries: patient text, a secret, or the body of hostile code. It must never turn up at the server."""

Files = dict[str, bytes]
Change = Callable[[Files], object]


@dataclass
class Job:
    """A whole job on its way.

    Attributes:
        files: each by its path inside the job's folder, NVFlare's signatures included.
        person: who sends it, and whom the server names to the sites.
    """

    files: Files
    person: str = PERSON

    def app(self, name: str = SITE_APP) -> Files:
        """The files of one app, as a server sends them to a site."""
        return {path.removeprefix(f"{name}/"): text for path, text in self.files.items() if path.startswith(f"{name}/")}


@dataclass
class Scene:
    """One federation, its server's gates and those of its site `alpha`.

    Attributes:
        root: the federation's folder.
        marker: a file that hostile code makes where it runs.
        folder: for whatever a test needs.
    """

    root: Path
    marker: Path
    folder: Path
    patch: pytest.MonkeyPatch = field(repr=False)

    @property
    def workspace(self) -> Path:
        """The site's."""
        return State(self.root).site(SITE)

    @property
    def server(self) -> Path:
        """The server's workspace."""
        return State(self.root).server

    def job(
        self,
        change: Change | None = None,
        *,
        person: str = PERSON,
        claims: str = "",
        now: datetime | None = None,
        lifetime: timedelta = timedelta(hours=1),
        sites: tuple[str, ...] = SITES,
        after: Change | None = None,
        brings: Code | None = None,
        **document: Any,
    ) -> Job:
        """A job that ``person`` signs.

        Args:
            change: what is done to its files before anybody signs them.
            person: whose key and certificate.
            claims: the submitter whom the manifest names; ``person`` where not given.
            now: when the manifest is made.
            lifetime: how long it counts.
            sites: whom it asks.
            after: what is done to its files after the manifest, and before NVFlare's signature.
            brings: its training code, which its document then names.
            document: changes to the job's document.
        """
        job = job_of(self.root, **({"code": "code/hostile"} if brings else {}), **document)
        files = files_of_job(job, brings)
        if change:
            change(files)
        listed = {path: text for path, text in files.items() if path.split("/")[0] in (SERVER_APP, SITE_APP)}
        manifest = Manifest.of(
            job.value, listed, sites=sites, submitter=claims or person, now=now or datetime.now(UTC), lifetime=lifetime
        )
        startup = State(self.root).person(person) / "startup"
        signed = sign_manifest(
            manifest, PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
        )
        for app in (SERVER_APP, SITE_APP):
            files.setdefault(f"{app}/{MANIFEST}", signed)
        files.setdefault("meta.json", canonical_json(meta_of(job.value, sites)))
        if after:
            after(files)
        return Job(self.signed(files, person), person)

    def signed(self, files: Files, person: str = PERSON) -> Files:
        """``files`` with NVFlare's signatures by ``person``."""
        folder = self.folder / f"to-send-{job_id()}"
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text)
        for app in (SERVER_APP, SITE_APP):
            if (folder / app).is_dir():
                sign(folder / app, self.root, person)
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        read = {name: path.read_bytes() for name, path in found.items()}
        shutil.rmtree(folder)
        return read

    # --- gates

    def submit(self, job: Job) -> str:
        """What the server answers to the person who sends ``job``; nothing where it takes the job."""
        return self.submit_zip(zip_of({f"{JOB}/{path}": text for path, text in job.files.items()}), job.person)

    def submit_zip(self, archive: bytes, person: str = PERSON) -> str:
        """The same, of an archive as it is."""
        return refusal_of(archive) or refusal_of_job(self.server, JOB, archive, person)

    def deploy(self, job: Job, *, meta: Mapping[str, Any] | None = None, identifier: str = "") -> str:
        """What the site answers to a server that sends it ``job``; nothing where it takes the job."""
        told = {**meta_of_person(job.person), **(meta or {})}
        return self.deploy_zip(zip_of(job.app()), meta=told, identifier=identifier)

    def deploy_zip(self, app: bytes, *, meta: Mapping[str, Any] | None = None, identifier: str = "") -> str:
        """The same, of an app's archive as it is."""
        workspace = Workspace(str(self.workspace), site_name=SITE)
        told = {**META, **(meta or {})}
        return Admission().deploy(workspace, identifier or job_id(), told, SITE_APP, app, FLContext())

    def deploy_command(self, app: bytes) -> str:
        """What the site's process answers before NVFlare unpacks anything of an app."""
        from nvflare.private.admin_defs import Message

        return str(CheckedDeployProcessor().process(Message(topic="train.deploy", body=app), None).body)

    def server_app(self, job: Job) -> str:
        """What the server says of the unpacked app that would run in its own job process."""
        folder = self.server / job_id() / "app_server"  # where NVFlare unpacks it
        for path, text in job.app(SERVER_APP).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text)
        said = ServerAppCheck().validate(str(folder))[0]
        shutil.rmtree(folder.parent)
        return said

    def both(self, job: Job, *, meta: Mapping[str, Any] | None = None) -> list[str]:
        """The server's answer, and that of a site whose server lets everything through."""
        return [self.submit(job), self.deploy(job, meta=meta)]

    def clock(self, moved: timedelta) -> None:
        """Set the clock of server and site, and of nobody else, forward or back."""

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.now(tz) + moved

        for module in (admission, submitted_job):
            self.patch.setattr(module, "datetime", Clock)

    # --- what came of it

    def ran(self) -> list[str]:
        """What should not be there after a refusal."""
        found = [str(path) for path in self.workspace.rglob("view") if path.is_dir()]
        return found + ([str(self.marker)] if self.marker.exists() else [])

    def let_in(self) -> list[Any]:
        """Records of jobs that the site let in."""
        return admitted_records(self.root)


def holds(folder: Path, word: str = CANARY) -> list[str]:
    """Files below ``folder`` that hold ``word``, in their text, in a name, or inside an archive."""
    import io
    import zipfile

    found = []
    for path in folder.rglob("*"):
        if word in path.name:
            found.append(str(path))
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        pieces = [content]
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                pieces += [archive.read(name) for name in archive.namelist()] + [
                    name.encode() for name in archive.namelist()
                ]
        if any(word.encode() in piece for piece in pieces):
            found.append(str(path))
    return found


def changed_json(name: str, change: Callable[[Any], object]) -> Change:
    """A change of one JSON file of a job."""

    def apply(files: Files) -> None:
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return apply
