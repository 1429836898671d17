# SPDX-License-Identifier: Apache-2.0
"""Admission, with real keys, real signatures and real documents; no NVFlare process."""

from __future__ import annotations

import base64
import io
import logging
import shutil
import stat
import struct
import sys
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.private.fed.utils.app_authz import AppAuthzService
from nvflare.private.privacy_manager import PrivacyManager, PrivacyService, Scope

from cloister.certificates.anchors import read_roots
from cloister.errors import (
    CloisterError,
    DeniedError,
    FederationError,
    InvalidDocumentsError,
    ProvisioningError,
    SignatureError,
)
from cloister.flare import admission
from cloister.flare.admission import Admission, admit
from cloister.flare.admitted import Admitted
from cloister.flare.app_archive import files_of
from cloister.flare.app_check import MAXIMUM_APP_BYTES, SiteAppCheck
from cloister.flare.job_folder import SERVER_APP, SITE_APP, read_app
from cloister.flare.state import SiteSettings, State
from cloister.policies import Submitter
from cloister.provisioning import Authority, provision
from cloister.provisioning.authority import AUTHORITY_FOLDER
from cloister.provisioning.revoking import revoke
from cloister.repository import load_repository
from cloister.roster import ROSTER
from cloister.sandbox import SandboxMode
from cloister.trust import Trust, roster_file, trust_in_force
from tests.federation_folder import OFFICER, PERSON, change_document
from tests.flare.signed_jobs import (
    META,
    SITE,
    admitted_records,
    authority_file,
    files_of_folder,
    job_id,
    job_of,
    meta_of_person,
    provisioned,
    publish_roster,
    raw_zip,
    repacked,
    sign,
    signed_app,
    site_app,
    zip_of,
)
from tests.signed_policies import revoke_policy, sign_policies


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bubblewrap works on this machine is not what these tests ask."""
    monkeypatch.setattr(admission, "missing", lambda: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


def place(root: Path) -> Path:
    return State(root).site(SITE)


def ask(root: Path, app: bytes, *, meta: dict[str, Any] | None = None, app_name: str = SITE_APP) -> Admitted:
    return admit(place(root), job_id(), {**META, **(meta or {})}, app_name, app)


def refusal(root: Path, app: bytes, **others: Any) -> str:
    with pytest.raises(DeniedError) as caught:
        ask(root, app, **others)
    return str(caught.value)


def test_a_signed_job_that_the_policy_allows_is_admitted(root: Path) -> None:
    admitted = ask(root, signed_app())
    assert admitted.submitter == Submitter(PERSON, "institute", "data-scientist")
    assert admitted.sandbox is SandboxMode.BUBBLEWRAP
    files: dict[str, bytes] = {}
    repacked(signed_app(), files.update)
    assert admitted.app == read_app(SITE_APP, files).digest


def test_folders_inside_the_archive_do_no_harm(root: Path) -> None:
    files = files_of_folder(sign(site_app(root, job_of(root)), root))
    entries = [(zipfile.ZipInfo("config/"), b""), *((zipfile.ZipInfo(name), text) for name, text in files.items())]
    assert ask(root, raw_zip(entries)).submitter.name == PERSON


# --- signatures


def test_a_job_that_nobody_signed_is_refused(root: Path) -> None:
    app = zip_of(files_of_folder(site_app(root, job_of(root))))
    assert refusal(root, app) == "the job is not signed by one person of this federation"


def test_a_job_changed_after_signing_is_refused(root: Path) -> None:
    def more_rounds(files: dict[str, bytes]) -> None:
        assert b"rounds: 2" in files["config/job.yaml"]
        files["config/job.yaml"] = files["config/job.yaml"].replace(b"rounds: 2", b"rounds: 9")

    assert "not signed" in refusal(root, repacked(signed_app(), more_rounds))


def test_a_signature_taken_from_another_job_of_the_same_person_is_refused(root: Path) -> None:
    files: dict[str, bytes] = {}
    repacked(signed_app(training={"seed": 8}), files.update)

    def swap(own: dict[str, bytes]) -> None:
        own["config/.__nvfl_sig.json"] = files["config/.__nvfl_sig.json"]

    assert "not signed" in refusal(root, repacked(signed_app(), swap))


def test_a_job_signed_by_another_federations_person_is_refused(root: Path) -> None:
    assert "not signed" in refusal(root, signed_app(of="theirs"))


def test_two_signers_are_one_too_many(root: Path) -> None:
    app = sign(site_app(root, job_of(root)), root)
    other = sign(site_app(root, job_of(root)), root, "ivan@research.example")
    for name in ("config/.__nvfl_sig.json", "config/.__nvfl_submitter.crt"):
        (app / name).write_bytes((other / name).read_bytes())
    assert "not signed by one person" in refusal(root, zip_of(files_of_folder(app)))


@pytest.mark.parametrize("kit", ["server", "sites/beta"])
def test_a_servers_or_sites_certificate_admits_no_job(root: Path, kit: str) -> None:
    startup = State(root).folder / kit / "startup"
    person = State(root).person(PERSON) / "startup"
    for name in ("client.key", "client.crt"):
        found = next(startup.glob(f"*{Path(name).suffix}"))
        (person / name).unlink()
        (person / name).write_bytes(found.read_bytes())
        (person / name).chmod(0o600)
    message = refusal(root, zip_of(files_of_folder(sign(site_app(root, job_of(root)), root))))
    assert "not signed" in message or "is not in the roster" in message


def test_without_the_authoritys_certificate_nobody_is_believed(root: Path) -> None:
    app = signed_app()
    (place(root) / "startup" / "rootCA.pem").unlink()
    with pytest.raises(ProvisioningError, match=r"rootCA\.pem` is missing"):
        ask(root, app)
    assert not admitted_records(root)


def test_a_roster_under_another_authority_is_not_believed(root: Path) -> None:
    app = signed_app()
    shutil.copy(authority_file("theirs"), place(root) / "startup" / "rootCA.pem")
    with pytest.raises(SignatureError, match=r"trust/roster\.json`"):
        ask(root, app)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"not json", b'{"job.yaml": 5}', b"\xff"])
def test_a_damaged_signature_file_is_refused(root: Path, damage: bytes) -> None:
    app = repacked(signed_app(), lambda files: files.update({"config/.__nvfl_sig.json": damage}))
    assert "not signed" in refusal(root, app)


def test_what_is_no_certificate_signs_nothing(root: Path) -> None:
    app = sign(site_app(root, job_of(root)), root)
    for path in app.rglob(".__nvfl_submitter.crt"):
        body = base64.b64encode(b"not a certificate").decode()
        path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    assert "not signed" in refusal(root, zip_of(files_of_folder(app)))


# --- the roster


def test_somebody_who_left_the_roster_is_refused(root: Path) -> None:
    app = signed_app(person="eve@bank.example")
    people = [{"name": PERSON, "organisation": "institute", "role": "data-scientist"}]
    change_document(root, "provisioning/federation.yaml", {"people": people})
    publish_roster(root)
    assert "`eve@bank.example` signed the job and is not in the roster" in refusal(root, app)


@pytest.mark.parametrize(
    "now",
    [{"role": "compliance-officer", "organisation": "institute"}, {"role": "data-scientist", "organisation": "x"}],
)
def test_another_role_or_organisation_than_in_the_certificate_is_refused(root: Path, now: dict[str, str]) -> None:
    app = signed_app()
    change_document(root, "provisioning/federation.yaml", {"people": [{"name": PERSON, **now}]})
    publish_roster(root)
    assert "is not in the roster as `data-scientist` of `institute`" in refusal(root, app)


# --- the policy


@pytest.mark.parametrize(
    ("person", "rule"),
    [(OFFICER, "`submitter`"), ("eve@bank.example", "`submitter`"), ("ivan@research.example", "it-admin")],
)
def test_people_without_the_policys_grant_are_refused(root: Path, person: str, rule: str) -> None:
    assert rule in refusal(root, signed_app(person=person), meta=meta_of_person(person))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"purpose": "marketing"}, "`purpose`"),
        ({"base_model": {"sha256": "0" * 64}}, "`base-model`"),
        ({"base_model": {"licence": "proprietary"}}, "`base-model`"),
        ({"dataset": {"name": "letters"}}, "`dataset`"),
        ({"dataset": {"text": "patient_id"}}, "`columns`"),
        ({"method": {"lora": {"rank": 9}}}, "`method`"),
        ({"method": {"lora": {"targets": ["key"]}}}, "`method`"),
        ({"federation": {"rounds": 21}}, "`training`"),
        ({"training": {"steps": 51}}, "`training`"),
        ({"training": {"batch_size": 33}}, "`training`"),
        ({"federation": {"minimum_sites": 1}}, "`sites`"),
    ],
)
def test_what_the_policy_does_not_grant_is_refused_by_rule_and_line(
    root: Path, changes: dict[str, Any], rule: str
) -> None:
    told = {"min_clients": changes.get("federation", {}).get("minimum_sites", 2)}
    message = refusal(root, signed_app(**changes), meta=told)
    assert rule in message
    assert "alpha.yaml:" in message or rule == "`sites`"


def test_an_expired_policy_refuses(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"valid_until": "2026-01-02"})
    sign_policies(root, "alpha")
    assert "`validity`" in refusal(root, signed_app())


def test_a_policy_that_begins_later_refuses(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"valid_from": "2099-01-01"})
    sign_policies(root, "alpha")
    assert "`validity`" in refusal(root, signed_app())


def test_the_baseline_refuses_as_well(root: Path) -> None:
    change_document(root, "policies/baseline.yaml", {"purposes": ["service-improvement"]})
    sign_policies(root, "baseline")
    assert "baseline.yaml" in refusal(root, signed_app())


@pytest.mark.parametrize("name", ["policies/alpha.yaml", "policies/baseline.yaml"])
def test_a_missing_policy_denies(root: Path, name: str) -> None:
    app = signed_app()
    (root / name).unlink()
    assert refusal(root, app) == f"site `alpha` has no policy in force: {name}: is missing"


def test_a_missing_silo_document_denies(root: Path) -> None:
    app = signed_app()
    (root / "silos" / "alpha.yaml").unlink()
    with pytest.raises(InvalidDocumentsError, match=r"is missing"):
        ask(root, app)


@pytest.mark.parametrize("name", ["alpha", "baseline"])
def test_a_policy_without_a_signature_denies(root: Path, name: str) -> None:
    (root / "policies" / f"{name}.yaml.sig").unlink()
    assert f"`policies/{name}.yaml` is not signed" in refusal(root, signed_app())


@pytest.mark.parametrize("name", ["alpha", "baseline"])
def test_a_changed_policy_denies_until_it_is_signed_again(root: Path, name: str) -> None:
    change_document(root, f"policies/{name}.yaml", {"version": 2})
    assert f"`policies/{name}.yaml` was changed after" in refusal(root, signed_app())
    sign_policies(root, name)
    assert ask(root, signed_app(training={"seed": 8})).site.policies


def test_a_policy_put_back_denies(root: Path) -> None:
    before = {path: path.read_bytes() for path in (root / "policies").glob("alpha.yaml*")}
    change_document(root, "policies/alpha.yaml", {"version": 2})
    sign_policies(root, "alpha")
    ask(root, signed_app())
    for path, content in before.items():
        path.write_bytes(content)
    assert "version 1 was put back after version 2 was in force" in refusal(root, signed_app(training={"seed": 8}))


def test_a_revoked_policy_denies(root: Path) -> None:
    revoke_policy(root, "baseline", reason="a complaint")
    assert "version 1 of the policy of `baseline` was revoked" in refusal(root, signed_app())


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"\xff"])
def test_a_missing_or_damaged_roster_denies(root: Path, damage: bytes | None) -> None:
    app, path = signed_app(), roster_file(place(root))
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(CloisterError, match=r"trust/roster\.json`"):
        ask(root, app)


def test_the_document_beside_the_site_is_nobodys_word(root: Path) -> None:
    """Whoever may write into the site's folder puts nobody on the roster, and takes nobody off it."""
    people = [{"name": "mallory@bank.example", "organisation": "institute", "role": "data-scientist"}]
    change_document(root, ROSTER, {"people": people})
    assert ask(root, signed_app()).submitter.name == PERSON
    (root / ROSTER).unlink()
    assert ask(root, signed_app(training={"seed": 8})).submitter.name == PERSON


def test_under_a_stale_roster_no_job_is_admitted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until = trust_in_force(place(root)).next_update

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return until + timedelta(seconds=1)

    app = signed_app()
    monkeypatch.setattr(admission, "datetime", Clock)
    assert refusal(root, app).startswith("the site's roster, version 1, is stale since 20")


def test_a_revoked_persons_job_is_refused_and_their_next_certificates_is_not(root: Path) -> None:
    app = signed_app()
    authority = Authority.open(State(root).folder / AUTHORITY_FOLDER)
    assert revoke(authority, PERSON, "a lost laptop", datetime.now(UTC))
    assert ask(root, signed_app(training={"seed": 8})).submitter.name == PERSON, "not before the roster says so"
    publish_roster(root)
    assert "by a certificate that the authority has revoked" in refusal(root, app)
    for path in (State(root).person(PERSON) / "startup").glob("client.*"):
        path.unlink()  # the key was revoked with it, and is certified no more
    provision(load_repository(root).federation.value, State(root).folder, datetime.now(UTC))
    anew = zip_of(files_of_folder(sign(site_app(root, job_of(root)), root)))
    assert ask(root, anew).submitter.name == PERSON


def test_missing_settings_deny(root: Path) -> None:
    app = signed_app()
    (place(root) / "local" / "cloister.json").unlink()
    with pytest.raises(FederationError):
        ask(root, app)


def test_a_job_that_does_not_ask_this_site_is_refused(root: Path) -> None:
    app = signed_app(federation={"sites": ["beta", "gamma"]})
    asked = {"server_app": ["server"], "site_app": ["beta", "gamma"]}
    assert "the job's manifest does not ask `alpha`" in refusal(root, app, meta={"deploy_map": asked})


# --- the sandbox


def test_without_a_sandbox_a_policy_that_demands_one_refuses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "missing", lambda: "bubblewrap is not installed")
    message = refusal(root, signed_app())
    assert message == "the policy demands a sandbox, and this site has none: bubblewrap is not installed"


@pytest.mark.parametrize(
    ("site", "baseline", "mode"),
    [
        ("unsafe-none", "unsafe-none", SandboxMode.UNSAFE_NONE),
        ("unsafe-none", None, SandboxMode.UNSAFE_NONE),
        ("required", "unsafe-none", SandboxMode.BUBBLEWRAP),
        (None, None, SandboxMode.BUBBLEWRAP),
    ],
)
def test_only_both_policies_together_give_up_the_sandbox(
    root: Path, site: str | None, baseline: str | None, mode: SandboxMode
) -> None:
    change_document(root, "policies/alpha.yaml", {"sandbox": site})
    sign_policies(root, "alpha")
    change_document(root, "policies/baseline.yaml", {"sandbox": baseline})
    sign_policies(root, "baseline")
    assert ask(root, signed_app()).sandbox is mode


def test_a_site_cannot_give_up_the_sandbox_that_the_baseline_demands(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"sandbox": "unsafe-none"})
    sign_policies(root, "alpha")
    try:
        assert ask(root, signed_app()).sandbox is SandboxMode.BUBBLEWRAP
    except DeniedError as error:
        assert "sandbox" in str(error)


# --- what the server says about the job


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scope", "public"),
        ("study", "another"),
        ("launcher_spec", {"alpha": {"docker": {"image": "evil"}}}),
        ("stats_pool_config", {"a": 1}),
        ("byoc", True),
        ("byoc", "no"),
        ("scope", ["cloister"]),
        ("custom_props", {"a": 1}),
        ("edge_method", "cross-device"),
        ("flower_predeployed", True),
        ("cloned_from", "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"),
        ("approvals", {"alpha": "yes"}),
        ("job_id", "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"),
        ("something_of_a_later_nvflare", {"x": 1}),
        ("another", 1),
    ],
)
def test_meta_that_asks_for_anything_is_refused(root: Path, key: str, value: Any) -> None:
    assert f"meta sets `{key}`" in refusal(root, signed_app(), meta={key: value})


def test_what_nvflares_server_notes_for_itself_is_let_through(root: Path) -> None:
    """As a server of NVFlare 2.9 sends it, with every key that it writes."""
    identifier = job_id()
    notes = {
        "job_id": identifier,
        "job_folder_name": "tiny-triage",
        "submit_time": 1789000000.5,
        "submit_time_iso": "2026-09-10T00:00:00+00:00",
        "start_time": "",
        "duration": "N/A",
        "data_storage_format": 2,
        "status": "SUBMITTED",
        "schedule_count": 1,
        "last_schedule_time": 1789000001.5,
        "schedule_history": ["2026-09-10 00:00:01: scheduled"],
        "job_deploy_detail": ["server: OK"],
        "something_of_a_later_nvflare": None,
        "scope": "",
        "custom_props": {},
    }
    assert admit(place(root), identifier, {**META, **notes}, SITE_APP, signed_app()).job_id == identifier


# --- what it costs


def test_roster_and_certificate_are_read_once_and_one_clock_is_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large roster takes a tenth of a second to read; and a job has one moment that it is judged by."""
    rosters: list[Path] = []
    certificates: list[Path] = []
    asked: list[datetime] = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            asked.append(datetime.now(tz))
            return asked[-1]

    def trust_counted(workspace: Path) -> Trust:
        rosters.append(workspace)
        return trust_in_force(workspace)

    def roots_counted(path: Path) -> Any:
        certificates.append(path)
        return read_roots(path)

    app = signed_app()
    for module in [module for name, module in sys.modules.items() if name.startswith("cloister.")]:
        if vars(module).get("trust_in_force") is trust_in_force:
            monkeypatch.setattr(module, "trust_in_force", trust_counted)
        if vars(module).get("read_roots") is read_roots:
            monkeypatch.setattr(module, "read_roots", roots_counted)
    monkeypatch.setattr(admission, "datetime", Clock)
    ask(root, app)
    assert rosters == [place(root)]
    assert certificates == [place(root) / "startup" / "rootCA.pem"]
    assert len(asked) == 1


@pytest.mark.parametrize("name", [SERVER_APP, "app", "", "site_app/../x", "SITE_APP"])
def test_another_apps_name_is_refused(root: Path, name: str) -> None:
    assert "not a site's" in refusal(root, signed_app(), app_name=name)


@pytest.mark.parametrize(
    "identifier", ["startup", "local", "admitted", "../x", "../local/cloister", "/tmp/x", "", "x" * 36, "0" * 32]
)
def test_an_identifier_that_names_another_folder_is_refused(root: Path, identifier: str) -> None:
    with pytest.raises(DeniedError, match="not a job's identifier"):
        admit(place(root), identifier, dict(META), SITE_APP, signed_app())


# --- the site's own configuration, changed while it runs


@pytest.mark.parametrize(
    "name", ["startup/fed_client.json", "local/resources.json", "local/privacy.json", "local/authorization.json"]
)
def test_a_configuration_that_was_changed_meanwhile_admits_nothing(root: Path, name: str) -> None:
    app, path = signed_app(), place(root) / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert "the site's configuration is not in order" in refusal(root, app)


def test_a_server_elsewhere_in_the_configuration_admits_nothing(root: Path) -> None:
    app, path = signed_app(), place(root) / "startup" / "fed_client.json"
    assert b"localhost:8002" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"localhost:8002", b"localhost:8003"))
    assert "`" + str(path) + "` does not hold what was written" in refusal(root, app)


def test_settings_that_name_another_folder_of_policies_admit_nothing(root: Path, tmp_path: Path) -> None:
    """Whoever edits this one file would choose the policies; another folder's may be signed just as well."""
    elsewhere = Path(shutil.copytree(root, tmp_path / "elsewhere"))
    app, workspace = signed_app(), place(root)
    SiteSettings(SITE, elsewhere, workspace, State(root).folder).write(workspace / "local")
    with pytest.raises(ProvisioningError, match="name another folder than they lie in"):
        ask(root, app)
    assert deploy(root, app).startswith("refused: ")
    assert b'"effect":"deny"' in (workspace / "audit" / "log.jsonl").read_bytes(), "recorded where the site really is"


# --- what is in the archive


def test_a_servers_app_is_refused_at_a_site(root: Path) -> None:
    app = sign(site_app(root, job_of(root)).with_name(SERVER_APP), root)
    assert "carries `config/config_fed_server.json`" in refusal(root, zip_of(files_of_folder(app)))


@pytest.mark.parametrize("name", ["custom/x.py", "config/x.py", "x", "config/config_fed_client.json.default"])
def test_a_signed_extra_file_is_refused_all_the_same(root: Path, name: str) -> None:
    app = site_app(root, job_of(root))
    (app / name).parent.mkdir(exist_ok=True)
    (app / name).write_text("import os")
    message = refusal(root, zip_of(files_of_folder(sign(app, root))))
    assert f"carries `{name}`" in message or "carries `custom/" in message


def _entry(name: str, mode: int = stat.S_IFREG | 0o600) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "entry",
    [
        _entry("../x"),
        _entry("config/../../x"),
        _entry("/etc/passwd"),
        _entry("config//job.yaml"),
        _entry("./config/job.yaml"),
        _entry("config/./job.yaml"),
        _entry("config\\job.yaml"),
        _entry("..\\x"),
        _entry("config/job.yaml", stat.S_IFLNK | 0o777),
        _entry("config/", stat.S_IFLNK | 0o777),
        _entry("config/job.yaml", stat.S_IFIFO | 0o600),
        _entry("config/job.yaml", stat.S_IFCHR | 0o600),
    ],
)
def test_unsafe_names_and_kinds_are_refused(entry: zipfile.ZipInfo) -> None:
    with pytest.raises(DeniedError, match="unsafe name or kind"):
        files_of(raw_zip([(entry, b"x")]))


@pytest.mark.parametrize("name", ["custom/", "local/", "config/custom/"])
def test_an_empty_folder_is_refused_too(name: str) -> None:
    with pytest.raises(DeniedError, match="a folder beside `config`"):
        files_of(raw_zip([(_entry(name, stat.S_IFDIR | 0o700), b"")]))


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(DeniedError, match="two files of one name"):
        files_of(raw_zip([(_entry("config/job.yaml"), b"a"), (_entry("config/job.yaml"), b"b")]))


def test_too_many_entries_are_refused() -> None:
    with pytest.raises(DeniedError, match="larger than"):
        files_of(raw_zip([(_entry(f"f{number}"), b"") for number in range(101)]))


def _bomb(size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("config/job.yaml", bytes(size))
    return stream.getvalue()


def test_what_inflates_beyond_measure_is_refused() -> None:
    with pytest.raises(DeniedError, match="larger than"):
        files_of(_bomb(MAXIMUM_APP_BYTES + 1))
    half = bytes(MAXIMUM_APP_BYTES // 2 + 1)
    with pytest.raises(DeniedError, match="larger than"):
        files_of(zip_of({"a": half, "b": half}))


def test_a_bomb_that_declares_a_small_size_is_not_inflated_whole() -> None:
    size = 64 << 20
    honest = _bomb(size)
    lying = honest.replace(struct.pack("<L", size), struct.pack("<L", 10))
    assert lying != honest
    tracemalloc.start()
    try:
        with pytest.raises(DeniedError):
            files_of(lying)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAXIMUM_APP_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_compressing_are_refused(compression: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("config/job.yaml", bytes(100))
    with pytest.raises(DeniedError, match="unsafe name or kind"):
        files_of(stream.getvalue())


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not a ZIP archive", bytes(1000), b"PK\x05\x06" + bytes(18) + b"x" * 9]
)
def test_what_is_no_archive_is_refused(root: Path, content: bytes) -> None:
    with pytest.raises(DeniedError):
        ask(root, content)


def test_a_damaged_archive_is_refused_wherever_it_is_damaged() -> None:
    sound = zip_of({"config/job.yaml": b"job: x\n" * 50, "config/config_fed_client.json": b"{}"})
    read = files_of(sound)
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 0xFF
        try:
            found = files_of(bytes(damaged))
        except DeniedError:
            continue
        assert set(found.values()) <= set(read.values()), position  # an entry may be lost, never changed


def test_an_encrypted_entry_is_refused() -> None:
    sound = bytearray(zip_of({"config/job.yaml": b"job: x"}))
    sound[6] |= 1  # general purpose bit 0 of the local header
    sound[sound.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DeniedError, match="not a ZIP archive that can be read"):
        files_of(bytes(sound))


# --- NVFlare's side


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVFlare's own services as a site of ours sets them up."""
    scope = Scope()
    scope.set_name("cloister")
    monkeypatch.setattr(PrivacyService, "manager", PrivacyManager([scope], "cloister", None))
    monkeypatch.setattr(AppAuthzService, "app_validator", SiteAppCheck())


def deploy(root: Path, app: bytes, identifier: str | None = None, **meta: Any) -> str:
    workspace = Workspace(str(place(root)), site_name=SITE)
    return Admission().deploy(workspace, identifier or job_id(), {**META, **meta}, SITE_APP, app, FLContext())


@pytest.mark.usefixtures("services")
def test_deploying_writes_the_record_and_unpacks_the_app(root: Path) -> None:
    identifier = job_id()
    assert deploy(root, signed_app(), identifier) == ""
    assert [record["job_id"] for record in admitted_records(root)] == [identifier]
    assert (place(root) / identifier / "app_site_app" / "config" / "job.yaml").is_file() or list(
        (place(root) / identifier).rglob("job.yaml")
    )
    admitted = Admitted.take(place(root), identifier)
    assert admitted.submitter.name == PERSON
    assert stat.S_IMODE((place(root) / "admitted").stat().st_mode) == 0o700


@pytest.mark.usefixtures("services")
def test_a_denied_job_leaves_nothing_behind_and_is_told_why(root: Path) -> None:
    identifier = job_id()
    said = deploy(root, signed_app(purpose="marketing"), identifier)
    assert said.startswith("denied: `purpose`")
    assert not admitted_records(root)
    assert not (place(root) / identifier).exists()


@pytest.mark.usefixtures("services")
def test_an_invalid_site_document_is_a_refusal_and_no_denial(root: Path) -> None:
    app = signed_app()
    (root / "silos" / "alpha.yaml").write_text("site: [")
    assert deploy(root, app).startswith("refused: ")
    assert not admitted_records(root)


@pytest.mark.parametrize("error", [KeyError("Ada Lovelace"), RuntimeError("Ada Lovelace"), MemoryError("Ada Lovelace")])
@pytest.mark.usefixtures("services")
def test_whatever_goes_wrong_inside_denies_and_stays_at_the_site(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    app = signed_app()

    def stumble(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(admission, "decide", stumble)
    with caplog.at_level(logging.ERROR):
        said = deploy(root, app)
    assert said.startswith("refused: admission failed at the site")
    assert "Ada" not in said
    assert "Ada" in caplog.text
    assert not admitted_records(root)


@pytest.mark.usefixtures("services")
def test_what_nvflare_refuses_is_not_written_down_as_admitted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppAuthzService, "validate_app", staticmethod(lambda path: ("no such app here", {})))
    assert deploy(root, signed_app()) == "no such app here"
    assert not admitted_records(root)


@pytest.mark.usefixtures("services")
def test_a_hostile_identifier_deletes_nothing(root: Path) -> None:
    before = files_of_folder(place(root))
    for identifier in ("startup", "local", "../../authority"):
        assert deploy(root, signed_app(), identifier).startswith("denied: ")
    after = files_of_folder(place(root))
    after.pop("audit-checkpoint.json", None)  # the site's own memory of its audit log
    assert after.pop("audit/log.jsonl").count(b"\n") == 3
    assert after == before
