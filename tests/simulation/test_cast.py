# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.policies import Request, Submitter, decide
from cloister.repository import Repository, load_repository
from cloister.simulation import cast_of
from tests.federation_folder import JOB, OFFICER, PERSON, change_document, make_federation

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return load_repository(make_federation(tmp_path))


def test_without_a_number_the_sites_are_the_jobs_own(repo: Repository) -> None:
    cast = cast_of(repo, repo.jobs[JOB])
    assert cast.document is repo.jobs[JOB]
    assert [(site.name, site.origin, site.copies) for site in cast.sites] == [
        (name, name, 1) for name in ("alpha", "beta", "gamma")
    ]


def test_copies_are_spread_over_the_sites_and_asked_by_the_job(repo: Repository) -> None:
    cast = cast_of(repo, repo.jobs[JOB], 7)
    names = ["alpha-001", "alpha-002", "alpha-003", "beta-001", "beta-002", "gamma-001", "gamma-002"]
    assert [site.name for site in cast.sites] == names
    assert [(site.number, site.copies) for site in cast.sites[:3]] == [(0, 3), (1, 3), (2, 3)]
    assert list(cast.document.value.federation.sites) == names
    assert cast.document.text == repo.jobs[JOB].text
    job = repo.jobs[JOB].value
    assert cast.document.value.model_copy(update={"federation": job.federation}) == job


def test_a_copys_documents_bear_its_name_and_are_those_of_its_site(repo: Repository) -> None:
    site = cast_of(repo, repo.jobs[JOB], 6).sites[1]
    assert site.name == site.documents.silo.value.site == site.documents.policies.site.value.policy == "alpha-002"
    assert site.documents.policies.site.text == repo.policies["alpha"].text
    assert site.documents.policies.baseline is repo.policies["baseline"]


def test_a_copys_refusal_names_the_file_and_line_of_its_site(tmp_path: Path) -> None:
    change_document(make_federation(tmp_path), "policies/beta.yaml", {"purposes": ["research"]})
    repo = load_repository(tmp_path)
    cast = cast_of(repo, repo.jobs[JOB], 6)
    submitter = Submitter(PERSON, "institute", "data-scientist")
    said = {
        site.name: decide(
            Request(site.name, submitter, cast.document, site.documents.silo), site.documents.policies, NOW
        )
        for site in cast.sites
    }
    assert [name for name, decision in said.items() if not decision.allowed] == ["beta-001", "beta-002"]
    assert "(policies/beta.yaml:" in said["beta-002"].sentence()


def test_too_few_sites_for_the_job_are_a_mistake(repo: Repository) -> None:
    with pytest.raises(UsageError, match="needs 2 sites or more, and --sites says 1"):
        cast_of(repo, repo.jobs[JOB], 1)


def test_a_site_whose_documents_are_elsewhere_can_only_be_copied_around(tmp_path: Path) -> None:
    root = make_federation(tmp_path)
    (root / ".cloister" / "sites" / "alpha").mkdir(parents=True)
    for name in ("policies/gamma.yaml", "silos/gamma.yaml"):
        (root / name).unlink()
    repo = load_repository(root)
    with pytest.raises(UsageError, match="the documents of `gamma` are not in this folder"):
        cast_of(repo, repo.jobs[JOB])
    assert {site.origin for site in cast_of(repo, repo.jobs[JOB], 4).sites} == {"alpha", "beta"}


def test_a_name_that_leaves_no_room_for_a_number_is_told(tmp_path: Path) -> None:
    long = "a" * 60
    records = [("note", "soon")]
    organisation = {"organisation": "a-hospital"}
    sites = [{"name": name, **organisation, "officers": [OFFICER]} for name in (long, "beta")]
    root = make_federation(tmp_path, sites={long: records, "beta": records}, silo=organisation, roster={"sites": sites})
    repo = load_repository(root)
    with pytest.raises(UsageError, match="too long a name"):
        cast_of(repo, repo.jobs[JOB], 4)
