# SPDX-License-Identifier: Apache-2.0
"""What a site writes down of a job that it lets in, and takes once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloister.errors import JobError
from cloister.flare import admitted
from cloister.flare.admitted import Admitted
from cloister.policies import Submitter
from cloister.repository import load_site
from cloister.sandbox import SandboxMode
from tests.federation_folder import PERSON, change_document, make_federation
from tests.flare.signed_jobs import SITE, job_id, officers_keys


def _admitted(identifier: str) -> Admitted:
    submitter = Submitter(PERSON, "institute", "data-scientist")
    site = load_site(officers_keys(), SITE)
    return Admitted(identifier, "0" * 64, submitter, site, SandboxMode.BUBBLEWRAP)


def test_the_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = _admitted(job_id())
    record.write(tmp_path)
    assert Admitted.take(tmp_path, record.job_id) == record
    assert list((tmp_path / "admitted").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"job_id": 1}',
        json.dumps({"job_id": "x", "app": "d", "submitter": [], "policy": "p", "sandbox": "bubblewrap"}),
        json.dumps({"job_id": "x", "app": "d", "submitter": {"name": "n"}, "policy": "p", "sandbox": "bubblewrap"}),
    ],
)
def test_a_damaged_record_admits_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "admitted").mkdir()
    (tmp_path / "admitted" / "x.json").write_text(text)
    with pytest.raises(JobError, match="no record of having admitted"):
        Admitted.take(tmp_path, "x")


def test_another_sandbox_than_there_is_admits_nothing(tmp_path: Path) -> None:
    record = _admitted(job_id())
    record.write(tmp_path)
    path = tmp_path / "admitted" / f"{record.job_id}.json"
    path.write_text(path.read_text().replace("bubblewrap", "none"))
    with pytest.raises(JobError):
        Admitted.take(tmp_path, record.job_id)


@pytest.mark.parametrize("changed", ["minimum_sites: 2", "alpha-hospital"])
def test_other_documents_than_those_that_decided_admit_nothing(tmp_path: Path, changed: str) -> None:
    record = _admitted(job_id())
    record.write(tmp_path)
    path = tmp_path / "admitted" / f"{record.job_id}.json"
    assert changed in path.read_text()
    path.write_text(path.read_text().replace(changed, changed[:-1] + "1"))
    with pytest.raises(JobError, match="no record of having admitted"):
        Admitted.take(tmp_path, record.job_id)


def test_another_jobs_record_admits_nothing(tmp_path: Path) -> None:
    record, other = _admitted(job_id()), job_id()
    record.write(tmp_path)
    folder = tmp_path / "admitted"
    (folder / f"{record.job_id}.json").rename(folder / f"{other}.json")
    with pytest.raises(JobError, match="of another job"):
        Admitted.take(tmp_path, other)


def test_a_record_is_taken_durably_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not bring it back, and the job a second start."""
    record = _admitted(job_id())
    record.write(tmp_path)
    synced: list[list[str]] = []
    monkeypatch.setattr(admitted, "sync_folder", lambda folder: synced.append([each.name for each in folder.iterdir()]))
    Admitted.take(tmp_path, record.job_id)
    assert synced == [[f"{record.job_id}.taken"]]


@pytest.mark.parametrize(
    ("sandbox", "policy", "mode"),
    [
        (SandboxMode.UNSAFE_NONE, "unsafe-none", SandboxMode.UNSAFE_NONE),
        (SandboxMode.BUBBLEWRAP, "unsafe-none", SandboxMode.BUBBLEWRAP),
        (SandboxMode.UNSAFE_NONE, "required", SandboxMode.BUBBLEWRAP),
    ],
)
def test_a_record_gives_up_the_sandbox_only_together_with_its_policies(
    tmp_path: Path, sandbox: SandboxMode, policy: str, mode: SandboxMode
) -> None:
    root = make_federation(tmp_path)
    for name in ("alpha", "baseline"):
        change_document(root, f"policies/{name}.yaml", {"sandbox": policy})
    submitter = Submitter(PERSON, "institute", "data-scientist")
    assert Admitted(job_id(), "0" * 64, submitter, load_site(root, SITE), sandbox).mode is mode
