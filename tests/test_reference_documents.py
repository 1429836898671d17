# SPDX-License-Identifier: Apache-2.0
"""The documents at the top of the project are themselves a federation that works."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.jobs import code_of
from cloister.policies import Decision, Request, Submitter, ViewFacts, decide
from cloister.policies.cases import CASES
from cloister.repository import Repository, case_results, coverage_problems, load_repository, load_site

ROOT = Path(__file__).parents[1]
FOLDERS = ("jobs", "silos", "provisioning", "policies")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.y*ml"))
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ASKED = {
    "triage-notes": ("hospital-hill", "hospital-north", "hospital-river"),
    "complaint-routing": ("bank-ash", "bank-elm", "bank-oak"),
}


@pytest.fixture(scope="module")
def repository() -> Repository:
    return load_repository(ROOT)


def ask(repository: Repository, job: str, site: str, person: str, records: int | None = None) -> Decision:
    who = repository.federation.value.person(person)
    assert who is not None
    submitter = Submitter(who.name, who.organisation, who.role.value)
    view = None if records is None else ViewFacts(records, {})
    request = Request(site, submitter, repository.jobs[job], repository.silos[site], view=view)
    return decide(request, repository.policies_of(site), NOW)


def test_every_document_is_read(repository: Repository) -> None:
    read = [repository.federation, *repository.silos.values(), *repository.jobs.values(), *repository.policies.values()]
    read += repository.cases.values()
    assert sorted(ROOT / document.source.file for document in read) == DOCUMENTS
    assert len(read) == 1 + 6 + 3 + 7 + len(repository.cases)
    assert len(repository.cases) == len(list((ROOT / CASES).glob("*.yaml")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_says_how_to_check_it(path: Path) -> None:
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "cloister " in header


@pytest.mark.parametrize("job", ASKED)
def test_jobs_ask_the_sites_they_are_for(repository: Repository, job: str) -> None:
    assert repository.sites_of(repository.jobs[job].value) == ASKED[job]


@pytest.mark.parametrize(("job", "site"), [(job, site) for job, sites in ASKED.items() for site in sites])
def test_every_site_allows_the_job_it_is_asked_for(repository: Repository, job: str, site: str) -> None:
    for records in (None, 100):
        decision = ask(repository, job, site, "ada@research.example", records)
        assert decision.allowed, decision.sentence()
    assert {refusal.rule for refusal in ask(repository, job, site, "ada@research.example", 99).refusals} == {"records"}


@pytest.mark.parametrize(("job", "site"), [(job, site) for job, sites in ASKED.items() for site in sites])
@pytest.mark.parametrize("person", ["carla@research.example", "ivan@research.example"])
def test_no_site_lets_anybody_else_train(repository: Repository, job: str, site: str, person: str) -> None:
    decision = ask(repository, job, site, person)
    assert {refusal.rule for refusal in decision.refusals} == {"submitter"}
    assert {refusal.policy_at.split(":")[0] for refusal in decision.refusals} == {
        f"policies/{site}.yaml",
        "policies/baseline.yaml",
    }


@pytest.mark.parametrize(
    ("job", "other"), [("triage-notes", "complaint-routing"), ("complaint-routing", "triage-notes")]
)
def test_no_site_lets_the_other_trades_job_in(repository: Repository, job: str, other: str) -> None:
    for site in ASKED[other]:
        refusals = ask(repository, job, site, "ada@research.example").refusals
        assert {"purpose", "dataset"} <= {refusal.rule for refusal in refusals}


@pytest.mark.parametrize("site", [site for sites in ASKED.values() for site in sites])
def test_each_site_reads_the_same_by_itself(repository: Repository, site: str) -> None:
    alone = load_site(ROOT, site)
    assert alone.policies.digest == repository.policies_of(site).digest
    assert alone.policies.sandbox == "required"
    assert alone.policies.allowed_metrics == {"accuracy", "macro_f1", "loss", "train_loss"}
    assert alone.silo.value == repository.silos[site].value


def test_the_example_of_training_code_is_denied_by_its_rule_alone(repository: Repository) -> None:
    job = repository.jobs["triage-notes-balanced"]
    code = code_of(ROOT, job.value)
    assert code is not None
    ada = Submitter("ada@research.example", "research-institute", "data-scientist")
    for site in repository.sites_of(job.value):
        request = Request(site, ada, job, repository.silos[site], code.digest)
        (refusal,) = decide(request, repository.policies_of(site), NOW).refusals
        assert refusal.rule == "code"
        assert f"cloister policy approve-code {job.value.job} --site {site} --until DATE" in refusal.message


def test_every_case_comes_out_as_it_expects(repository: Repository) -> None:
    results = case_results(repository)
    assert results
    assert [(result.trial.place, result.came) for result in results if not result.passed] == []


def test_every_rule_of_every_policy_is_tried(repository: Repository) -> None:
    assert coverage_problems(repository) == []
