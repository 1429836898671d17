# SPDX-License-Identifier: Apache-2.0
"""A job's own training code on its way: written into the site's app, read, judged, handed to the trainer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloister.documents import Document
from cloister.errors import DeniedError, JobError
from cloister.files import sha256_of
from cloister.flare import site_job
from cloister.flare.job_folder import (
    CODE,
    MANIFEST,
    SERVER_APP,
    SITE_APP,
    App,
    files_of_job,
    read_app,
    write_job_folder,
)
from cloister.flare.job_signing import signed_manifest
from cloister.flare.site_job import SiteJob
from cloister.flare.state import State
from cloister.governance.job_manifest import check_app
from cloister.jobs import Code, Job, code_of
from cloister.jobs.manifest import Manifest
from cloister.messages import Setup
from cloister.sandbox import Enclosure, SandboxMode
from tests.federation_folder import PERSON, SITES, change_document
from tests.flare.signed_jobs import job_of, provisioned
from tests.flare.site_folder import admitted_job, make_site, open_job

CODE_OF_JOB = Code({"trainer.py": "class Trainer: ...\n", "focal.py": "GAMMA = 2\n"})
OTHER_CODE = Code({"trainer.py": "class Trainer: ...\n", "focal.py": "GAMMA = 3\n"})
FOLDER = "code/focal-loss"


@pytest.fixture
def job(tmp_path: Path) -> Document[Job]:
    return job_of(make_site(tmp_path / "documents"), code=FOLDER)


def app_files(job: Document[Job], app: str, code: Code | None = CODE_OF_JOB) -> dict[str, bytes]:
    files = files_of_job(job, code)
    return {path.removeprefix(f"{app}/"): content for path, content in files.items() if path.startswith(f"{app}/")} | {
        MANIFEST: b"{}"
    }


# --- the app


def test_the_site_gets_the_code_and_the_server_does_not(job: Document[Job], tmp_path: Path) -> None:
    folder = write_job_folder(job, SITES, b"{}", tmp_path / "to-send", CODE_OF_JOB)
    assert (folder / SITE_APP / CODE).read_bytes() == CODE_OF_JOB.to_bytes()
    assert not (folder / SERVER_APP / CODE).exists()
    assert read_app(SITE_APP, app_files(job, SITE_APP)).code == CODE_OF_JOB
    assert read_app(SERVER_APP, app_files(job, SERVER_APP)).code is None


def test_it_is_bound_by_manifest_and_admission(job: Document[Job]) -> None:
    read = read_app(SITE_APP, app_files(job, SITE_APP))
    manifest = Manifest.of(
        job.value,
        files_of_job(job, CODE_OF_JOB),
        sites=SITES,
        submitter=PERSON,
        now=datetime.now(UTC),
        lifetime=timedelta(hours=1),
    )
    assert manifest.code == CODE_OF_JOB.digest
    check_app(manifest, SITE_APP, read.files, job.value)
    changed = read_app(SITE_APP, app_files(job, SITE_APP, OTHER_CODE))
    with pytest.raises(DeniedError, match="manifest"):
        check_app(manifest, SITE_APP, changed.files, job.value)
    assert changed.digest != read.digest


def test_the_servers_app_may_not_carry_it(job: Document[Job]) -> None:
    with pytest.raises(DeniedError, match=r"carries `config/code\.json`"):
        read_app(SERVER_APP, app_files(job, SERVER_APP) | {CODE: CODE_OF_JOB.to_bytes()})


def test_a_job_that_names_code_must_carry_it_and_no_other_may(job: Document[Job], tmp_path: Path) -> None:
    files = app_files(job, SITE_APP)
    del files[CODE]
    with pytest.raises(DeniedError, match="lacks the training code"):
        read_app(SITE_APP, files)
    plain = job_of(make_site(tmp_path / "plain"))
    with pytest.raises(DeniedError, match="carries training code that its document does not name"):
        read_app(SITE_APP, app_files(plain, SITE_APP, None) | {CODE: CODE_OF_JOB.to_bytes()})
    for document, code in ((plain, CODE_OF_JOB), (job, None)):
        with pytest.raises(JobError, match="do not belong together"):
            files_of_job(document, code)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"files": {"trainer.py": ""}}', b'{"files":{"../trainer.py":"","trainer.py":""}}']
)
def test_code_that_is_not_as_it_is_written_is_refused(job: Document[Job], content: bytes) -> None:
    with pytest.raises(DeniedError, match="training code"):
        read_app(SITE_APP, app_files(job, SITE_APP) | {CODE: content})


@pytest.mark.parametrize("path", ["config/trainer.py", "code/trainer.py", "custom/trainer.py", "config/code.py"])
def test_code_lies_nowhere_else(job: Document[Job], path: str) -> None:
    with pytest.raises(DeniedError, match="the job carries"):
        read_app(SITE_APP, app_files(job, SITE_APP) | {path: b"import os\n"})


def test_a_submitter_signs_the_code(tmp_path: Path) -> None:
    root = provisioned(tmp_path)
    CODE_OF_JOB.write(root / FOLDER)
    document = job_of(root, code=FOLDER)
    code = code_of(root, document.value)
    kit = State(root).person(PERSON)
    with pytest.raises(JobError, match="do not belong together"):
        signed_manifest(document, SITES, kit, PERSON, datetime.now(UTC), timedelta(hours=1))
    content = signed_manifest(document, SITES, kit, PERSON, datetime.now(UTC), timedelta(hours=1), code=code)
    assert sha256_of(CODE_OF_JOB.to_bytes()).encode() not in content  # the envelope holds its payload as base64
    assert content != signed_manifest(document, SITES, kit, PERSON, datetime.now(UTC), timedelta(hours=1), code=code)


# --- the site's job process


class TrainerInMemory:
    """Stands where the sandboxed process stands."""

    last: TrainerInMemory

    def __init__(self, enclosure: Enclosure, setup: Setup, *, mode: SandboxMode, maximum_blob_bytes: int) -> None:
        self.enclosure, self.mode = enclosure, mode
        TrainerInMemory.last = self

    def start(self, timeout_seconds: float) -> None:
        folder = self.enclosure.code
        self.found = {} if folder is None else {path.name: path.read_text() for path in folder.iterdir()}
        self.modes = [] if folder is None else [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())]

    def close(self) -> None:
        return None


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[TrainerInMemory]]:
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)
    yield TrainerInMemory
    assert "trainer" not in sys.modules
    assert "focal" not in sys.modules


def approving(code: Code) -> Mapping[str, Any]:
    return {"code": {"approved": [{"sha256": code.digest, "by": "olga@research.example", "until": "2099-01-01"}]}}


def opened(root: Path, code: Code = CODE_OF_JOB, **others: Any) -> SiteJob:
    return open_job(root, job_of(root, code=FOLDER), code=code, **others)


def test_approved_code_is_laid_before_the_trainer_and_removed(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job = opened(make_site(tmp_path / "f", policy=approving(CODE_OF_JOB)).resolve())
    job.prepare()
    assert trainer.last.enclosure.code == job.private / "code"
    assert trainer.last.found == dict(CODE_OF_JOB.files)
    assert trainer.last.modes == [0o700, 0o600, 0o600]
    assert trainer.last.mode is SandboxMode.BUBBLEWRAP
    job.close()
    assert not (job.private / "code").exists()


@pytest.mark.parametrize("policy", [{}, {"code": "forbidden"}, approving(OTHER_CODE)], ids=["silent", "word", "other"])
def test_code_that_is_not_approved_is_never_written(
    tmp_path: Path, trainer: type[TrainerInMemory], policy: Mapping[str, Any]
) -> None:
    job = opened(make_site(tmp_path / "f", policy=policy).resolve())
    with pytest.raises(
        DeniedError, match=r"`code`: .*cloister policy approve-code tiny-triage --site alpha --until DATE"
    ):
        job.prepare()
    assert not (job.private / "code").exists()
    assert not (job.private / "view").exists()


def test_no_approval_lets_code_run_without_a_sandbox(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    policy = {**approving(CODE_OF_JOB), "sandbox": "unsafe-none"}
    root = make_site(tmp_path / "f", policy=policy, baseline={"sandbox": None}).resolve()
    job = opened(root, sandbox=SandboxMode.UNSAFE_NONE)
    with pytest.raises(DeniedError, match="without a sandbox"):
        job.prepare()
    assert not (job.private / "code").exists()


def test_a_job_without_code_gets_no_folder(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(make_site(tmp_path / "f").resolve())
    job.prepare()
    assert trainer.last.enclosure.code is None
    assert not (job.private / "code").exists()


def test_other_code_than_was_admitted_is_refused(tmp_path: Path) -> None:
    root = make_site(tmp_path / "f", policy=approving(OTHER_CODE)).resolve()
    document = job_of(root, code=FOLDER)
    settings, identifier, _ = admitted_job(root, document, code=CODE_OF_JOB)
    other: App = read_app(SITE_APP, app_files(document, SITE_APP, OTHER_CODE))
    with pytest.raises(DeniedError, match="not the one that was admitted"):
        SiteJob.open(settings, identifier, other, settings.workspace / "private", lambda: datetime.now(UTC))


def test_the_federations_folder_at_the_site_is_not_where_code_comes_from(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    """What lies under the job's name on the site's disk is nothing to the site: what travelled counts."""
    root = make_site(tmp_path / "f", policy=approving(CODE_OF_JOB)).resolve()
    OTHER_CODE.write(root / FOLDER)
    change_document(root, "jobs/tiny-triage.yaml", {"code": FOLDER})
    job = opened(root)
    job.prepare()
    assert trainer.last.found == dict(CODE_OF_JOB.files)
