# SPDX-License-Identifier: Apache-2.0
"""What somebody on the way could do to a signed job, with NVFlare's own signatures made anew or left valid: refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from cloister.errors import DeniedError
from cloister.flare import admission, submitted_job
from cloister.flare.admission import Admission, admit
from cloister.flare.job_folder import MANIFEST, SERVER_APP, SITE_APP
from cloister.flare.state import State
from cloister.flare.submitted_job import refusal_of_job
from cloister.governance.replay import FILE
from tests.federation_folder import OFFICER, PERSON
from tests.flare.signed_jobs import (
    META,
    SITE,
    files_of_folder,
    job_folder,
    job_id,
    job_of,
    manifest_of,
    provisioned,
    sign,
    signed_app,
    site_app,
    zip_of,
)

Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bubblewrap works on this machine is not what these tests ask."""
    monkeypatch.setattr(admission, "missing", lambda: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


def place(root: Path) -> Path:
    return State(root).site(SITE)


def sent(root: Path, change: Callable[[Path], object], **changes: Any) -> bytes:
    """The federation's job, changed by a submitter who then has NVFlare sign whatever is there."""
    app = site_app(root, job_of(root, **changes))
    change(app)
    return zip_of(files_of_folder(sign(app, root)))


def refusal(root: Path, app: bytes, **meta: Any) -> str:
    with pytest.raises(DeniedError) as caught:
        admit(place(root), job_id(), {**META, **meta}, SITE_APP, app)
    return str(caught.value)


# --- at a site


def test_a_job_without_a_manifest_is_refused(root: Path) -> None:
    assert "lacks `config/manifest.json`" in refusal(root, sent(root, lambda app: (app / MANIFEST).unlink()))


@pytest.mark.parametrize("content", [b"", b"{}", b"null"])
def test_an_empty_manifest_is_refused(root: Path, content: bytes) -> None:
    assert "signed statement" in refusal(root, sent(root, lambda app: (app / MANIFEST).write_bytes(content)))


def test_another_jobs_manifest_is_refused(root: Path) -> None:
    other = manifest_of(root, job_of(root, training={"seed": 8}))
    message = refusal(root, sent(root, lambda app: (app / MANIFEST).write_bytes(other)))
    assert "`config/job.yaml` is not the one that its manifest lists" in message


def test_an_older_jobs_document_under_the_new_manifest_is_refused(root: Path) -> None:
    older = job_of(root, federation={"rounds": 3})
    message = refusal(root, sent(root, lambda app: (app / "config" / "job.yaml").write_bytes(older.text)))
    assert "`config/job.yaml` is not the one that its manifest lists" in message


def test_a_purpose_changed_on_the_way_is_refused(root: Path) -> None:
    other = job_of(root, purpose="service-improvement")
    message = refusal(root, sent(root, lambda app: (app / "config" / "job.yaml").write_bytes(other.text)))
    assert "is not the one that its manifest lists" in message


def test_two_swapped_files_are_refused(root: Path) -> None:
    def swap(app: Path) -> None:
        one, other = app / "config" / "job.yaml", app / "config" / "config_fed_client.json"
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)

    assert refusal(root, sent(root, swap))


def test_a_deleted_file_is_refused(root: Path) -> None:
    assert "lacks `config/job.yaml`" in refusal(root, sent(root, lambda app: (app / "config" / "job.yaml").unlink()))


@pytest.mark.parametrize("kit", ["server", "sites/beta"])
def test_a_manifest_with_a_machines_signature_is_refused(root: Path, kit: str) -> None:
    person, startup = State(root).person(PERSON) / "startup", State(root).folder / kit / "startup"
    own = {path: path.read_bytes() for path in (person / "client.key", person / "client.crt")}
    for path in own:
        path.write_bytes(next(startup.glob(f"*{path.suffix}")).read_bytes())
    app = site_app(root, job_of(root))
    for path, content in own.items():
        path.write_bytes(content)
    assert "and by no person" in refusal(root, zip_of(files_of_folder(sign(app, root))))


def test_files_signed_by_one_and_the_manifest_by_another_are_refused(root: Path) -> None:
    app = sign(site_app(root, job_of(root), person=OFFICER), root, PERSON)
    message = refusal(root, zip_of(files_of_folder(app)))
    assert message == f"`{PERSON}` signed the job's files, and `{OFFICER}` its manifest"


def test_another_federations_manifest_is_refused(root: Path, tmp_path: Path) -> None:
    theirs = provisioned(tmp_path / "other", "theirs")
    foreign = manifest_of(theirs, job_of(theirs))
    message = refusal(root, sent(root, lambda app: (app / MANIFEST).write_bytes(foreign)))
    assert "did not certify" in message


@pytest.mark.parametrize(
    ("begin", "message"), [(timedelta(hours=2), "a clock is off by 1 hour"), (timedelta(hours=-2), "expired at")]
)
def test_a_manifest_that_does_not_count_now_is_refused(root: Path, begin: timedelta, message: str) -> None:
    other = manifest_of(root, job_of(root), now=datetime.now(UTC) + begin)
    assert message in refusal(root, sent(root, lambda app: (app / MANIFEST).write_bytes(other)))


def test_a_manifest_for_other_sites_is_refused(root: Path) -> None:
    asked = {"server_app": ["server"], "site_app": ["beta", "gamma"]}
    own = job_of(root, federation={"sites": []})
    other = manifest_of(root, own, sites=["beta", "gamma"])
    app = sent(root, lambda app: (app / MANIFEST).write_bytes(other), federation={"sites": []})
    assert "does not ask `alpha`" in refusal(root, app, deploy_map=asked)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "another"),
        ("name", None),
        ("min_clients", 1),
        ("min_clients", "2"),
        ("deploy_map", {"server_app": ["server"], "site_app": ["alpha"]}),
        ("deploy_map", {"server_app": ["server"], "site_app": ["alpha", "beta", "gamma", "delta"]}),
        ("deploy_map", {"site_app": ["@ALL"]}),
        ("deploy_map", None),
        ("min_clients", 2.0),
        ("mandatory_clients", ["alpha"]),
        ("mandatory_clients", None),
        ("resource_spec", {"alpha": {"num_of_gpus": 8}}),
        ("submitter_name", "eve@bank.example"),
        ("submitter_name", ""),
        ("submitter_name", None),
        ("submitter_org", "other-institute"),
        ("submitter_role", "it-admin"),
    ],
)
def test_a_server_that_says_otherwise_than_the_manifest_is_refused(root: Path, key: str, value: Any) -> None:
    assert f"the server says another `{key}`" in refusal(root, signed_app(), **{key: value})


# --- replay


def test_a_job_is_admitted_once_even_after_a_restart(root: Path) -> None:
    app = signed_app()
    admit(place(root), job_id(), dict(META), SITE_APP, app)
    assert "this submission was used before" in refusal(root, app)
    assert (place(root) / FILE).stat().st_mode & 0o777 == 0o600


def test_a_denied_job_cannot_wait_for_a_better_policy(root: Path) -> None:
    app = signed_app(purpose="marketing")
    assert "`purpose`" in refusal(root, app)
    assert "this submission was used before" in refusal(root, app)


def test_an_identifier_serves_one_job(root: Path) -> None:
    identifier = job_id()
    admit(place(root), identifier, dict(META), SITE_APP, signed_app())
    with pytest.raises(DeniedError, match="the job's identifier was used before"):
        admit(place(root), identifier, dict(META), SITE_APP, signed_app(training={"seed": 8}))


@pytest.mark.parametrize("content", [b"", b"not a database"])
def test_a_damaged_replay_cache_stops_admission(root: Path, content: bytes) -> None:
    (place(root) / FILE).write_bytes(content)
    assert "the replay cache" in refusal(root, signed_app())


@pytest.mark.parametrize(
    "gate", ["verify_manifest", "check_app", "ReplayCache", "check_meta", "trust_in_force", "check_kit_in_use"]
)
def test_whatever_goes_wrong_inside_a_gate_denies(root: Path, monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    def stumble(*arguments: object) -> None:
        raise RuntimeError("Ada Lovelace")

    monkeypatch.setattr(admission, gate, stumble)

    workspace = Workspace(str(place(root)), site_name=SITE)
    said = Admission().deploy(workspace, job_id(), dict(META), SITE_APP, signed_app(), FLContext())
    assert said.startswith("refused: admission failed at the site")
    assert not (place(root) / "admitted").exists()


# --- at the server


def submission(root: Path, person: str = PERSON, **changes: Any) -> Files:
    return {
        f"j/{path}": content
        for path, content in files_of_folder(job_folder(root, job_of(root, **changes), person)).items()
    }


def said(root: Path, files: Files, sender: str = PERSON) -> str:
    return refusal_of_job(State(root).server, "j", zip_of(files), sender)


def test_the_server_takes_a_signed_job_once(root: Path) -> None:
    files = submission(root)
    assert said(root, files) == ""
    assert said(root, files).startswith("this submission was used before")
    assert said(root, submission(root)) == ""


@pytest.mark.parametrize("sender", ["eve@bank.example", OFFICER, "", PERSON.upper()])
def test_nobody_sends_a_job_that_another_has_signed(root: Path, sender: str) -> None:
    """Whoever sends a job may fetch its result; and the attempt does not use the job up."""
    files = submission(root)
    assert f"`{PERSON}` signed the job, and another person sends it" in said(root, files, sender)
    assert said(root, files) == ""


@pytest.mark.parametrize(
    "path",
    ["meta.json/anything.py", ".__nvfl_sig.json/x", ".__nvfl_submitter.crt/x.py", "site_app", "server_app", "custom/x"],
)
def test_what_is_no_file_of_a_job_is_refused_whatever_its_folder_is_called(root: Path, path: str) -> None:
    assert f"the job carries `{path}`" in said(root, submission(root) | {f"j/{path}": b"import os"})


@pytest.mark.parametrize(
    "folder", ["j/custom/", "j/site_app/custom/", "j/site_app/config//", "k/", "j/meta.json/", "/"]
)
def test_a_folder_that_holds_no_file_of_a_job_is_refused(root: Path, folder: str) -> None:
    assert "the job carries an empty folder" in said(root, submission(root) | {folder: b""})


def test_the_folders_of_a_job_do_no_harm(root: Path) -> None:
    folders = dict.fromkeys(["j/", "j/site_app/", "j/site_app/config/", "j/server_app/config/"], b"")
    assert said(root, submission(root) | folders) == ""


def test_what_the_server_refused_is_not_used_up(root: Path) -> None:
    files = submission(root)
    assert said(root, files | {"j/extra": b""}).startswith("the job carries `extra`")
    assert said(root, files) == ""


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (f"{SITE_APP}/{MANIFEST}", None, "lacks `config/manifest.json`"),
        (f"{SERVER_APP}/{MANIFEST}", None, "lacks `config/manifest.json`"),
        (f"{SERVER_APP}/{MANIFEST}", b"{}", "two manifests"),
        ("meta.json", None, "missing or not JSON"),
        ("meta.json", b"[" * 100_000, "missing or not JSON"),
        ("meta.json", b"{}", "asks for something else than its manifest"),
        ("meta.yml", b"x: 1", "carries `meta.yml`"),
        ("other_app/config/config_fed_client.json", b"{}", "carries `other_app/"),
        (f"{SITE_APP}/custom/x.py", b"", "carries `custom/x.py`"),
    ],
)
def test_the_server_says_at_once_what_is_wrong(root: Path, path: str, content: bytes | None, message: str) -> None:
    files = submission(root)
    files.pop(f"j/{path}", None)
    if content is not None:
        files[f"j/{path}"] = content
    assert message in said(root, files)


def test_the_server_refuses_a_document_that_differs_between_the_apps(root: Path) -> None:
    files = submission(root)
    files[f"j/{SERVER_APP}/config/job.yaml"] = job_of(root, federation={"rounds": 3}).text
    assert "`config/job.yaml` is not the one that its manifest lists" in said(root, files)


def test_a_file_outside_the_jobs_folder_is_refused(root: Path) -> None:
    assert "outside the job's folder" in said(root, submission(root) | {"k/x": b""})
    assert "outside the job's folder" in said(root, submission(root) | {"x": b""})


def test_the_server_refuses_a_large_file_before_it_reads_it(root: Path) -> None:
    assert "larger than a job may be" in said(root, submission(root) | {"j/x": bytes(3 << 20)})


@pytest.mark.parametrize("gate", ["verify_manifest", "check_app", "ReplayCache", "read_app", "ZipFile"])
def test_whatever_goes_wrong_inside_the_servers_gate_denies(
    root: Path, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    files = submission(root)

    def stumble(*arguments: object) -> None:
        raise RuntimeError("Ada Lovelace")

    monkeypatch.setattr(submitted_job, gate, stumble)
    assert said(root, files).startswith("the check of the job failed")
