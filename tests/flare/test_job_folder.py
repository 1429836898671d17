# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloister.documents import Document
from cloister.errors import DeniedError, InvalidDocumentsError
from cloister.files import json_text
from cloister.flare.job_folder import (
    CONTROLLER,
    EXECUTOR,
    MANIFEST,
    SERVER_APP,
    SITE_APP,
    files_of_job,
    read_app,
    write_job_folder,
)
from cloister.jobs import Job
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import files_of_folder, job_of

SIGNED = b'{"whoever reads the app": "verifies it"}'
SIGNATURES = (".__nvfl_sig.json", ".__nvfl_submitter.crt")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Document[Job]:
    return job_of(make_federation(tmp_path_factory.mktemp("federation")))


@pytest.fixture(scope="module")
def folder(job: Document[Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job as it is sent; no test changes it."""
    return write_job_folder(job, ["beta", "alpha"], SIGNED, tmp_path_factory.mktemp("to-send") / "tiny-triage")


@pytest.fixture(params=[SERVER_APP, SITE_APP])
def app(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def files(folder: Path, app: str) -> dict[str, bytes]:
    return files_of_folder(folder / app)


def configuration_of(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.startswith("config/config_fed_"))


def test_what_is_written_is_read_back(app: str, files: dict[str, bytes], job: Document[Job]) -> None:
    read = read_app(app, files)
    assert (read.job.value, read.job.text, read.manifest, read.code) == (job.value, job.text, SIGNED, None)
    assert {f"{app}/{name}": content for name, content in read.files.items()}.items() <= files_of_job(job).items()
    assert MANIFEST not in read.files


def test_a_job_consists_of_seven_files_and_carries_no_code(folder: Path) -> None:
    assert sorted(files_of_folder(folder)) == [
        "meta.json",
        "server_app/config/config_fed_server.json",
        "server_app/config/job.yaml",
        "server_app/config/manifest.json",
        "site_app/config/config_fed_client.json",
        "site_app/config/job.yaml",
        "site_app/config/manifest.json",
    ]


def test_the_only_classes_named_are_the_controller_and_the_executor(folder: Path) -> None:
    paths: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            paths.update(str(found) for key, found in value.items() if key in ("path", "name", "class_path"))
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    for app in (SERVER_APP, SITE_APP):
        for path in (folder / app / "config").glob("*.json"):
            collect(json.loads(path.read_text()))
    assert paths == {CONTROLLER, EXECUTOR}


def test_meta_asks_for_the_sites_and_nothing_else(folder: Path) -> None:
    assert json.loads((folder / "meta.json").read_text()) == {
        "name": "tiny-triage",
        "resource_spec": {},
        "deploy_map": {"server_app": ["server"], "site_app": ["alpha", "beta"]},
        "min_clients": 2,
        "mandatory_clients": [],
    }


def test_signatures_may_lie_beside_what_they_sign(app: str, files: dict[str, bytes]) -> None:
    for where in ("", "config/"):
        files |= {where + name: b"anything: whoever reads the app verifies them" for name in SIGNATURES}
    assert read_app(app, files).job.value.job == "tiny-triage"
    assert not any(".__nvfl" in name for name in read_app(app, files).files)


@pytest.mark.parametrize(
    "name",
    [
        "custom/x.py",
        "config/x.py",
        "x.py",
        "config/custom/x.py",
        "config/job.yml",
        "config/JOB.yaml",
        "config/job.yaml ",
        "config/config_fed_client.conf",
        "config/config_fed_server.yml",
        "config/environment.json",
        "config/resources.json",
        "meta.json",
        "custom/.__nvfl_sig.json",
        "config/config/.__nvfl_sig.json",
        "config/.__nvfl_sig.json.py",
        ".__nvfl_sig.json/x",
        "",
    ],
)
def test_an_extra_file_is_refused(app: str, files: dict[str, bytes], name: str) -> None:
    with pytest.raises(DeniedError, match="the job carries"):
        read_app(app, files | {name: b"import os"})


def test_the_name_of_an_extra_file_is_not_repeated_at_length(app: str, files: dict[str, bytes]) -> None:
    with pytest.raises(DeniedError) as caught:
        read_app(app, files | {"x" * 100_000: b""})
    assert len(str(caught.value)) < 400


def test_the_other_sides_app_is_refused(folder: Path) -> None:
    for app, other in ((SERVER_APP, SITE_APP), (SITE_APP, SERVER_APP)):
        with pytest.raises(DeniedError):
            read_app(app, files_of_folder(folder / other))


def test_a_missing_file_is_refused(app: str, files: dict[str, bytes]) -> None:
    for name in list(files):
        with pytest.raises(DeniedError, match=f"the job lacks `{name}`"):
            read_app(app, {kept: content for kept, content in files.items() if kept != name})
    with pytest.raises(DeniedError, match="lacks"):
        read_app(app, {})


def test_every_changed_byte_of_the_configuration_is_refused(app: str, files: dict[str, bytes]) -> None:
    name = configuration_of(files)
    sound = files[name]
    for position in range(len(sound)):
        changed = sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :]
        with pytest.raises(DeniedError, match="not the one that Cloister writes"):
            read_app(app, files | {name: changed})
    for changed in (sound + b" ", sound[:-1], b"", b"\xef\xbb\xbf" + sound):
        with pytest.raises(DeniedError, match="not the one that Cloister writes"):
            read_app(app, files | {name: changed})


def test_code_in_the_configuration_is_refused(app: str, files: dict[str, bytes]) -> None:
    name = configuration_of(files)
    configuration = json.loads(files[name])
    configuration["components"] = [{"id": "x", "path": "subprocess.Popen", "args": {"args": ["id"]}}]
    with pytest.raises(DeniedError, match="not the one that Cloister writes"):
        read_app(app, files | {name: json_text(configuration)})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"job: [",
        b"{}",
        b"job: tiny-triage\ncommand: /bin/sh\n",
        b"job: !!python/object/apply:os.system [id]\n",
        b"a: &a [*a, *a]\n",
    ],
)
def test_an_invalid_document_is_refused_with_its_problems(app: str, files: dict[str, bytes], text: bytes) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read_app(app, files | {"config/job.yaml": text})
    assert all(problem.file == "jobs/job.yaml" for problem in caught.value.problems)


def test_a_key_more_in_the_document_is_refused(app: str, files: dict[str, bytes]) -> None:
    with pytest.raises(InvalidDocumentsError, match="unknown key `trainer`"):
        read_app(app, files | {"config/job.yaml": files["config/job.yaml"] + b"trainer: my.module\n"})


def test_a_folder_that_exists_with_something_in_it_does_not_mix(job: Document[Job], folder: Path) -> None:
    write_job_folder(job, ["alpha", "beta"], SIGNED, folder)
    assert len(files_of_folder(folder)) == 7
