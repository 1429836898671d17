# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloister.errors import DeniedError
from cloister.files import canonical_json, sha256_of
from cloister.jobs import Job
from cloister.jobs.manifest import CODE_PATH, MAXIMUM_FILES, MAXIMUM_LIFETIME, Manifest
from tests.federation_folder import JOB, PERSON, default_job

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FILES = {"server_app/config/job.yaml": b"job", "site_app/config/job.yaml": b"job", "site_app/config/x.json": b"{}"}
WORK = Job.model_validate_json(json.dumps(default_job()))


def manifest(files: dict[str, bytes] | None = None, **changes: Any) -> Manifest:
    made = Manifest.of(
        WORK, files or FILES, sites=["beta", "alpha"], submitter=PERSON, now=NOW, lifetime=timedelta(hours=1)
    )
    return dataclasses.replace(made, **changes)


def value(**changes: Any) -> dict[str, Any]:
    return json.loads(manifest().to_bytes()) | changes


def test_it_states_the_job_its_purpose_every_file_and_who_is_asked() -> None:
    made = manifest()
    assert (made.job, made.purpose, made.submitter) == (JOB, "care-improvement", PERSON)
    assert made.files == {path: sha256_of(content) for path, content in FILES.items()}
    assert made.sites == ("alpha", "beta")
    assert made.expires - made.not_before == 3600
    assert made.not_before == NOW.timestamp()
    assert made.code is None


def test_training_code_is_named_by_its_digest() -> None:
    assert manifest({**FILES, CODE_PATH: b"{}"}).code == sha256_of(b"{}")


def test_no_two_submissions_are_one() -> None:
    assert len({manifest().nonce for _ in range(100)}) == 100


def test_what_is_written_is_read_back() -> None:
    made = manifest()
    assert Manifest.from_bytes(made.to_bytes()) == made


def test_the_files_of_one_app() -> None:
    assert manifest().of_app("site_app") == {"config/job.yaml": sha256_of(b"job"), "config/x.json": sha256_of(b"{}")}
    assert manifest().of_app("site") == {}


def test_sites_and_server_get_one_and_the_same_document() -> None:
    with pytest.raises(ValueError, match="two job documents that differ"):
        manifest({**FILES, "server_app/config/job.yaml": b"another"})


def test_a_manifest_cannot_be_changed() -> None:
    made = manifest()
    with pytest.raises(TypeError):
        made.files["x/y"] = "0" * 64  # type: ignore[index]


@pytest.mark.parametrize("key", [each.name for each in dataclasses.fields(Manifest)])
def test_a_missing_key_is_refused(key: str) -> None:
    without = {name: part for name, part in value().items() if name != key}
    with pytest.raises(DeniedError, match="other keys"):
        Manifest.from_bytes(canonical_json(without))


def test_a_key_more_is_refused() -> None:
    with pytest.raises(DeniedError, match="other keys"):
        Manifest.from_bytes(canonical_json(value(comment="")))


@pytest.mark.parametrize(
    "changes",
    [
        {"job": 5},
        {"job": "Tiny Triage"},
        {"job": ""},
        {"purpose": None},
        {"purpose": "a purpose\n"},
        {"files": []},
        {"files": {}},
        {"files": {"site_app/config/job.yaml": None}},
        {"files": {"site_app/config/job.yaml": "0" * 63}},
        {"files": {"site_app/config/job.yaml": "A" * 64}},
        {"files": {"../config/job.yaml": "0" * 64}},
        {"files": {"/site_app/job.yaml": "0" * 64}},
        {"files": {"site_app//job.yaml": "0" * 64}},
        {"files": {"site_app/./job.yaml": "0" * 64}},
        {"files": {"job.yaml": "0" * 64}},
        {"files": {f"site_app/{number}": "0" * 64 for number in range(MAXIMUM_FILES + 1)}},
        {"sites": []},
        {"sites": "alpha"},
        {"sites": [1]},
        {"sites": ["beta", "alpha"]},
        {"sites": ["alpha", "alpha"]},
        {"sites": ["server"]},
        {"sites": ["Alpha"]},
        {"submitter": "ada"},
        {"submitter": None},
        {"nonce": ""},
        {"nonce": "0" * 31},
        {"nonce": "0" * 33},
        {"nonce": "G" * 32},
        {"not_before": True},
        {"not_before": "0"},
        {"not_before": -1},
        {"not_before": 1.5},
        {"expires": None},
        {"expires": 0},
        {"expires": 10**12},
        {"expires": 10**400},
        {"code": ""},
        {"code": "0" * 64},
        {"code": 5},
    ],
)
def test_a_value_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DeniedError, match="the job's manifest"):
        Manifest.from_bytes(canonical_json(value(**changes)))


def test_a_manifest_counts_for_seven_days_at_most() -> None:
    begin = manifest().not_before
    seconds = int(MAXIMUM_LIFETIME.total_seconds())
    assert seconds == 7 * 24 * 3600
    assert manifest(expires=begin + seconds)
    with pytest.raises(ValueError, match="longer than 7 days"):
        manifest(expires=begin + seconds + 1)
    with pytest.raises(ValueError, match="ends before"):
        manifest(expires=begin)


def test_only_the_one_spelling_is_read() -> None:
    sound = manifest().to_bytes()
    reordered = json.dumps(dict(reversed(json.loads(sound).items())), separators=(",", ":")).encode()
    doubled = sound[:-1] + b',"job":"' + JOB.encode() + b'"}'
    for other in (sound + b"\n", b" " + sound, json.dumps(json.loads(sound)).encode(), reordered, doubled):
        with pytest.raises(DeniedError, match="not spelled canonically"):
            Manifest.from_bytes(other)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff", b"{}", b"[" * 30_000, b" " * (1 << 17)]
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(DeniedError):
        Manifest.from_bytes(content)


def test_every_changed_byte_gives_another_manifest_or_none() -> None:
    made = manifest()
    sound = made.to_bytes()
    for position in range(len(sound)):
        changed = sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :]
        try:
            assert Manifest.from_bytes(changed) != made
        except DeniedError:
            continue
