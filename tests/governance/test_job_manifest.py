# SPDX-License-Identifier: Apache-2.0
"""Manifests signed with real keys, of a real authority."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloister.certificates import Anchors, PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import load
from cloister.envelope import seal
from cloister.errors import DeniedError, SignatureError
from cloister.flare.job_folder import SERVER_APP, SITE_APP, files_of_job
from cloister.flare.state import State
from cloister.governance.job_manifest import CLOCK_TOLERANCE, KIND, check_app, sign_manifest, verify_manifest
from cloister.jobs import Job
from cloister.jobs.manifest import CODE_PATH, Manifest
from cloister.roster import ROSTER, Federation
from tests.federation_folder import OFFICER, PERSON, change_document
from tests.flare.signed_jobs import job_of, provisioned

LIFETIME = timedelta(hours=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return provisioned(tmp_path_factory.mktemp("governance"))


@pytest.fixture(scope="module")
def federation(root: Path) -> Federation:
    return load(root / ROSTER, Federation).value


@pytest.fixture(scope="module")
def authority(root: Path) -> Anchors:
    return Anchors.of(read_certificate(State(root).server / "startup" / "rootCA.pem"))


@pytest.fixture(scope="module")
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def job(root: Path) -> Job:
    return job_of(root).value


@pytest.fixture(scope="module")
def manifest(root: Path, job: Job, now: datetime) -> Manifest:
    files = files_of_job(job_of(root))
    sites = ("alpha", "beta", "gamma")
    return Manifest.of(job, files, sites=sites, submitter=PERSON, now=now, lifetime=LIFETIME)


def app_of(root: Path, app: str = SITE_APP) -> dict[str, bytes]:
    prefix = f"{app}/"
    files = files_of_job(job_of(root))
    return {path.removeprefix(prefix): content for path, content in files.items() if path.startswith(prefix)}


def signed(root: Path, manifest: Manifest, who: str = f"people/{PERSON}") -> bytes:
    """``manifest`` with the signature of whoever has the kit ``who``."""
    startup = State(root).folder / who / "startup"
    (key,) = startup.glob("*.key")
    return sign_manifest(manifest, PrivateKey.load(key), read_certificate(key.with_suffix(".crt")))


def test_a_manifest_counts_that_its_submitter_signed(root, manifest, federation, authority, now) -> None:
    found = verify_manifest(signed(root, manifest), federation, authority, now)
    assert found.manifest == manifest
    assert (found.signer.name, found.signer.organisation, found.signer.role) == (PERSON, "institute", "data-scientist")


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff", b"[]" * 1000, b" " * (1 << 21)])
def test_what_is_no_envelope_is_refused(content: bytes, federation, authority, now) -> None:
    with pytest.raises(SignatureError):
        verify_manifest(content, federation, authority, now)


@pytest.mark.parametrize(("who", "kind"), [("server", "server `coordinator`"), ("sites/beta", "site `beta`")])
def test_a_machines_key_signs_no_job(root, manifest, federation, authority, now, who: str, kind: str) -> None:
    name = kind.split("`")[1]
    for submitter in (manifest, dataclasses.replace(manifest, submitter=f"{name}@research.example")):
        with pytest.raises(SignatureError, match=f"signed by the {kind} and by no person"):
            verify_manifest(signed(root, submitter, who), federation, authority, now)


def test_somebody_else_cannot_sign_in_the_submitters_name(root, manifest, federation, authority, now) -> None:
    with pytest.raises(SignatureError, match=f"names `{PERSON}` and is signed by `{OFFICER}`"):
        verify_manifest(signed(root, manifest, f"people/{OFFICER}"), federation, authority, now)


@pytest.mark.parametrize(
    "changes",
    [
        {"organisation": "other-institute"},
        {"role": "it-admin"},
        {"role": "compliance-officer"},
        {"name": "x@y.example"},
    ],
)
def test_the_roster_must_have_the_signer_as_the_certificate_says(
    tmp_path: Path, root, manifest, authority, now, changes: Mapping[str, Any]
) -> None:
    entry = {"name": PERSON, "organisation": "institute", "role": "data-scientist"} | dict(changes)
    text = (root / ROSTER).read_bytes()
    (tmp_path / "provisioning").mkdir()
    (tmp_path / ROSTER).write_bytes(text)
    people = [entry, {"name": OFFICER, "organisation": "institute", "role": "compliance-officer"}]
    changed = load(change_document(tmp_path, ROSTER, {"people": people}), Federation).value
    with pytest.raises(SignatureError, match="not in the roster with that organisation and role"):
        verify_manifest(signed(root, manifest), changed, authority, now)


def test_another_federations_person_of_that_name_is_refused(
    tmp_path: Path, manifest, federation, authority, now
) -> None:
    theirs = provisioned(tmp_path, "theirs")
    with pytest.raises(SignatureError, match="did not certify"):
        verify_manifest(signed(theirs, manifest), federation, authority, now)


def test_an_expired_signer_is_refused_even_where_the_manifest_is_fresh(root, manifest, federation, authority, now):
    later = now + timedelta(days=400)
    begin = int(later.timestamp())
    fresh = dataclasses.replace(manifest, not_before=begin, expires=begin + 3600)
    with pytest.raises(SignatureError, match="certificate that is not valid now"):
        verify_manifest(signed(root, fresh), federation, authority, later)


def test_a_changed_byte_of_the_envelope_is_refused(root, manifest, federation, authority, now) -> None:
    sound = signed(root, manifest)
    for position in range(0, len(sound), 7):
        changed = sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :]
        with pytest.raises(DeniedError):
            verify_manifest(changed, federation, authority, now)


def test_a_statement_of_another_kind_is_no_manifest(root, manifest, federation, authority, now) -> None:
    startup = State(root).person(PERSON) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    other = seal("application/vnd.cloister.policy-signature+json", manifest.to_bytes(), key, certificate)
    with pytest.raises(SignatureError, match="another kind"):
        verify_manifest(other, federation, authority, now)
    nothing = seal(KIND, b"{}", key, certificate)
    with pytest.raises(DeniedError, match="other keys"):
        verify_manifest(nothing, federation, authority, now)


# --- clocks; the signer's certificate begins a little before `now`


@pytest.mark.parametrize("late", [timedelta(0), LIFETIME, LIFETIME + CLOCK_TOLERANCE - timedelta(seconds=1)])
def test_a_manifest_counts_within_its_times_and_a_small_difference_of_clocks(
    root, manifest, federation, authority, now, late: timedelta
) -> None:
    assert verify_manifest(signed(root, manifest), federation, authority, now + late)


def test_a_clock_that_is_a_little_behind_does_no_harm(root, manifest, federation, authority, now) -> None:
    begin = int((now + CLOCK_TOLERANCE).timestamp())
    ahead = dataclasses.replace(manifest, not_before=begin, expires=begin + 60)
    assert verify_manifest(signed(root, ahead), federation, authority, now)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(timedelta(minutes=6), "6 minutes"), (timedelta(hours=1), "1 hour"), (timedelta(days=3, hours=5), "3 days")],
)
def test_a_manifest_from_the_future_is_refused_and_the_clocks_are_blamed(
    root, manifest, federation, authority, now, ahead: timedelta, said: str
) -> None:
    begin = int((now + ahead).timestamp())
    future = dataclasses.replace(manifest, not_before=begin, expires=begin + 60)
    with pytest.raises(DeniedError, match=rf"counts from .* UTC on, .*a clock is off by {said} or more"):
        verify_manifest(signed(root, future), federation, authority, now)


@pytest.mark.parametrize(
    ("late", "said"), [(CLOCK_TOLERANCE, "5 minutes"), (timedelta(hours=2), "2 hours"), (timedelta(days=9), "9 days")]
)
def test_an_expired_manifest_is_refused_and_says_since_when(
    root, manifest, federation, authority, now, late: timedelta, said: str
) -> None:
    with pytest.raises(DeniedError, match=rf"expired at .* UTC, {said} ago: .*submit the job again"):
        verify_manifest(signed(root, manifest), federation, authority, now + LIFETIME + late)


# --- what arrived


@pytest.mark.parametrize("app", [SERVER_APP, SITE_APP])
def test_the_app_that_the_manifest_lists_is_accepted(root, manifest, job, app: str) -> None:
    check_app(manifest, app, app_of(root, app), job)


def test_a_deleted_file_is_noticed(root, manifest, job) -> None:
    for path in app_of(root):
        less = {name: content for name, content in app_of(root).items() if name != path}
        with pytest.raises(DeniedError, match=f"lacks `{path}`"):
            check_app(manifest, SITE_APP, less, job)


def test_a_file_more_is_noticed(root, manifest, job) -> None:
    with pytest.raises(DeniedError, match=r"carries `config/code.json`, which its manifest does not list"):
        check_app(manifest, SITE_APP, app_of(root) | {"config/code.json": b"{}"}, job)


def test_two_swapped_files_are_noticed(root, manifest, job) -> None:
    files = app_of(root)
    first, second = sorted(files)
    swapped = {first: files[second], second: files[first]}
    with pytest.raises(DeniedError, match=f"`{first}` is not the one"):
        check_app(manifest, SITE_APP, swapped, job)


def test_an_older_jobs_part_is_noticed(root, manifest, job) -> None:
    older = job_of(root, training={"seed": 8})
    spliced = app_of(root) | {"config/job.yaml": older.text}
    with pytest.raises(DeniedError, match=r"`config/job.yaml` is not the one"):
        check_app(manifest, SITE_APP, spliced, older.value)


def test_an_app_that_the_manifest_does_not_know_is_refused(root, manifest, job) -> None:
    with pytest.raises(DeniedError, match="does not list"):
        check_app(manifest, "other_app", app_of(root), job)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"purpose": "marketing"}, "name or purpose"),
        ({"job": "another"}, "name or purpose"),
        ({"sites": ("alpha", "beta")}, "asks other sites"),
        ({"sites": ("alpha", "beta", "delta", "gamma")}, "asks other sites"),
    ],
)
def test_a_manifest_that_says_otherwise_than_its_job_is_refused(root, manifest, job, changes, message: str) -> None:
    with pytest.raises(DeniedError, match=message):
        check_app(dataclasses.replace(manifest, **changes), SITE_APP, app_of(root), job)


def test_a_job_that_names_no_sites_goes_where_the_manifest_says(root, manifest) -> None:
    open_job = job_of(root, federation={"sites": []})
    files = app_of(root) | {"config/job.yaml": open_job.text}
    digests = {f"{SITE_APP}/{path}": content for path, content in files.items()}
    now = datetime.now(UTC)
    own = Manifest.of(open_job.value, digests, sites=["alpha"], submitter=PERSON, now=now, lifetime=LIFETIME)
    check_app(own, SITE_APP, files, open_job.value)


def test_code_that_only_one_of_the_two_knows_of_is_refused(root, job) -> None:
    files = {f"{SITE_APP}/{path}": content for path, content in app_of(root).items()}
    now = datetime.now(UTC)
    own = Manifest.of(
        job, files | {CODE_PATH: b"{}"}, sites=job.federation.sites, submitter=PERSON, now=now, lifetime=LIFETIME
    )
    with pytest.raises(DeniedError, match="training code where its manifest has none, or the reverse"):
        check_app(own, SITE_APP, app_of(root) | {"config/code.json": b"{}"}, job)
